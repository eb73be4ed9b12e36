"""A model whose parameters are views of one flat image of its weights, as kernels read them."""

import mmap
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from weakref import ref

import torch
from torch import Tensor

from engine.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.nn.model import Model
from engine.nn.module import parameters
from engine.residency.image_build import build_image
from engine.residency.image_map import map_built, map_image, value_of
from engine.residency.image_plan import ImagePlan, Layout, plan_image
from engine.residency.image_store import ImageStore
from engine.residency.loader import LoadCancelled
from engine.residency.outline import Outline, outline_of
from engine.residency.pages import keep_in_memory, let_go_of_view


@dataclass(frozen=True, slots=True)
class Image:
    """path: None where it is in memory alone. was_built: by this load, not an earlier one."""

    path: Path | None
    nbytes: int
    was_built: bool


def open_image(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    store: ImageStore,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
    *,
    layout: Layout = "tiled",
) -> tuple[Model, Image]:
    """The model, its weights mapped from its image, which is built where the store has none.

    The map goes with the model's last parameter. Blocks for as long as building or reading takes;
    progress and cancelled are as in `load`. Raises what `load` raises, and `NativeMissing`.
    """
    outline = outline_of(checkpoint, dtype, layout)
    return _opened(outline, store, lambda: nullcontext(checkpoint), progress, cancelled)


def open_outlined(
    outline: Outline,
    store: ImageStore,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Model, Image]:
    """As `open_image`; of the checkpoint nothing is read where the store has its image."""
    return _opened(outline, store, lambda: open_checkpoint(outline.path), progress, cancelled)


def _opened(
    outline: Outline,
    store: ImageStore,
    open_again: Callable[[], AbstractContextManager[Checkpoint]],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> tuple[Model, Image]:
    whole, image = _mapped(outline, store, open_again, progress, cancelled)
    model = outline.build()
    segments = outline.plan.segments
    give_values(model, outline.plan, lambda n: whole[segments[n].offset : segments[n].end])
    return model, image


def map_outlined(
    outline: Outline,
    store: ImageStore,
    progress: Callable[[float], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, Image]:
    """As `open_outlined`, the bytes alone: uint8, (file_bytes,), read-only and in memory."""
    return _mapped(outline, store, lambda: open_checkpoint(outline.path), progress, cancelled)


def give_values(model: Model, plan: ImagePlan, data_of: Callable[[int], Tensor]) -> None:
    """Makes a model's parameters views of the bytes of its image's segments, wherever those are."""
    for number, (parameter, segment) in enumerate(
        zip(parameters(model), plan.segments, strict=True)
    ):
        assert parameter.path == segment.path, "an image has its parameters in the model's order"
        parameter.set(value_of(segment, parameter.slot, data_of(number)))


def _mapped(
    outline: Outline,
    store: ImageStore,
    open_again: Callable[[], AbstractContextManager[Checkpoint]],
    progress: Callable[[float], None],
    cancelled: Callable[[], bool],
) -> tuple[Tensor, Image]:
    plan = outline.plan
    work = _Work(outline, open_again, progress, cancelled)
    name = _file_name(outline.path, plan.key)
    whole, path = store.get(
        name, plan.file_bytes, work.read, work.build, cancelled, unkept=work.keep_in_memory
    )
    return whole, Image(path, plan.file_bytes, work.was_built)


@dataclass(slots=True)
class _Work:
    """What a store asks for, with progress that never goes back."""

    outline: Outline
    open_again: Callable[[], AbstractContextManager[Checkpoint]]
    progress: Callable[[float], None]
    cancelled: Callable[[], bool]
    was_built: bool = False
    mapped: "ref[mmap.mmap] | None" = None

    def build(self, descriptor: int) -> None:
        self.was_built = True
        with self.open_again() as checkpoint:
            model = blueprint(checkpoint, self.outline.shard)
            plan = plan_image(checkpoint, model, self.outline.dtype, self.outline.layout)
            if plan != self.outline.plan:
                raise CheckpointError(f"{checkpoint.path.name}: changed since it was opened")
            build_image(
                descriptor,
                checkpoint,
                model,
                plan,
                progress=self.progress,
                cancelled=self.cancelled,
            )
            for file in checkpoint.files:
                let_go_of_view(file.view(0, file.size))

    def read(self, descriptor: int) -> Tensor:
        """What this load has not built itself is verified."""
        plan = self.outline.plan
        if not self.was_built:
            return map_image(descriptor, plan, self.progress, self.cancelled)
        if self.cancelled():
            raise LoadCancelled
        mapped, whole = map_built(descriptor, plan)
        self.mapped = ref(mapped)  # so that it can go, whatever its file is waiting for
        self.progress(1.0)
        return whole

    def keep_in_memory(self) -> None:
        """What was built, unless nobody uses it any more."""
        mapped = None if self.mapped is None else self.mapped()
        if mapped is not None:
            keep_in_memory(mapped)


def _file_name(path: Path, key: str) -> str:
    """For people, then for the store."""
    return f"{re.sub('[^A-Za-z0-9._-]', '_', path.stem)[:60]}-{key[:32]}"
