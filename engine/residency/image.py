"""A model whose parameters are views of one flat image of its weights, as kernels read them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint import Checkpoint
from engine.models.blueprint import Blueprint, blueprint
from engine.nn.decoder import CausalLM
from engine.residency.image_build import build_image
from engine.residency.image_map import map_image, value_of
from engine.residency.image_plan import ImagePlan, plan_image
from engine.residency.image_store import ImageStore

_BUILDING = 0.9
"""The part of a first load that is building; the rest is reading what was built."""


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
) -> tuple[CausalLM, Image]:
    """The model, its weights mapped from its image, which is built where the store has none.

    The map goes with the model's last parameter. Blocks for as long as building or reading takes;
    progress and cancelled are as in `load`. Raises what `load` raises, and `NativeMissing`.
    """
    model = blueprint(checkpoint)
    plan = plan_image(checkpoint, model, dtype)
    work = _Work(checkpoint, model, plan, progress, cancelled)
    name = _file_name(checkpoint.path, plan.key)
    whole, path = store.get(name, plan.file_bytes, work.read, work.build, cancelled)
    for binding, segment in zip(model.bindings, plan.segments, strict=True):
        binding.parameter.set(value_of(segment, whole))
    return model.model, Image(path, plan.file_bytes, work.was_built)


@dataclass(slots=True)
class _Work:
    """What a store asks for, with progress that never goes back."""

    checkpoint: Checkpoint
    model: Blueprint
    plan: ImagePlan
    progress: Callable[[float], None]
    cancelled: Callable[[], bool]
    was_built: bool = False

    def build(self, descriptor: int) -> None:
        self.was_built = True
        build_image(
            descriptor,
            self.checkpoint,
            self.model,
            self.plan,
            progress=lambda fraction: self.progress(_BUILDING * fraction),
            cancelled=self.cancelled,
        )

    def read(self, descriptor: int) -> Tensor:
        start = _BUILDING if self.was_built else 0.0
        rest = 1 - start
        return map_image(
            descriptor,
            self.plan,
            lambda fraction: self.progress(start + rest * fraction),
            self.cancelled,
        )


def _file_name(path: Path, key: str) -> str:
    """For people, then for the store."""
    return f"{re.sub('[^A-Za-z0-9._-]', '_', path.stem)[:60]}-{key[:32]}"
