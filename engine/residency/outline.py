"""What a load from an image needs of a checkpoint, small enough to be kept without its weights."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import torch

from engine.checkpoint import Checkpoint
from engine.checkpoint.stamps import Stamps, are_current, stamps_of
from engine.kernels.group import Group
from engine.kernels.trace import Tape
from engine.models.blueprint import blueprint
from engine.models.card import device_workspace_bytes, operation_bytes, tape_of
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.models.shards import Shard
from engine.nn.model import Model
from engine.nn.module import modules
from engine.residency.image_plan import ImagePlan, Layout, plan_image

MAX_OUTLINES = 64
"""By default: some hundred kilobytes each, the more the more layers a model has."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A checkpoint understood for what is computed in one dtype; nothing of its vocabulary.

    operation_bytes: as of `engine.models.card`; on a GPU all of the workspace. shard: of the part of
    one of several ranks; summed: the blocks of it whose results are added up, by their paths.
    """

    path: Path
    dtype: torch.dtype
    stamps: Stamps
    digest: str
    family: Family
    config: BaseConfig
    plan: ImagePlan
    tape: Tape
    operation_bytes: int
    layout: Layout = "tiled"
    shard: Shard | None = None
    summed: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Of this state of the checkpoint, and of how it is loaded."""
        part = () if self.shard is None else (f"{self.shard.rank} of {self.shard.size}",)
        return identity(self.stamps, self.digest, self.layout, str(self.dtype), *part)

    def build(self) -> Model:
        """The model without weights, its parameters those of the plan's segments, in order.

        Blocks of a part have a `Group` that has not met.
        """
        model = self.family.model(self.config)
        for path, module in modules(model):
            if path in self.summed:
                module.group = Group()
        return model


def outline_of(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    layout: Layout = "tiled",
    shard: Shard | None = None,
) -> Outline:
    """From headers and samples alone. Raises `CheckpointError`."""
    understood = blueprint(checkpoint, shard)
    plan = plan_image(checkpoint, understood, dtype, layout)
    workspace_bytes = (
        operation_bytes(understood)
        if layout == "tiled"
        else device_workspace_bytes(understood, dtype)
    )
    tape = tape_of(understood.model, dtype)
    return Outline(
        checkpoint.path,
        dtype,
        stamps_of(checkpoint),
        checkpoint.digest,
        understood.family,
        understood.config,
        plan,
        tape,
        workspace_bytes,
        layout,
        shard,
        tuple(path for path, module in modules(understood.model) if module.group is not None),
    )


def identity(stamps: Stamps, digest: str, *how: str) -> str:
    """One word for a state of a checkpoint, and for how it was loaded."""
    # where it was read from does not matter: a link to a checkpoint is that checkpoint
    return sha256(msgspec.json.encode(([stamp for _, stamp in stamps], digest, how))).hexdigest()


_Key = tuple[Path, torch.dtype, Layout, Shard | None]


class Outlines:
    """Those used last, by path, dtype, layout and shard, as long as their files are what they were.

    Any thread may call.
    """

    def __init__(self, limit: int = MAX_OUTLINES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, Outline] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(
        self,
        path: Path,
        dtype: torch.dtype,
        layout: Layout = "tiled",
        shard: Shard | None = None,
    ) -> Outline | None:
        """None where there is none, or where a file was changed since."""
        key = path, dtype, layout, shard
        with self._lock:
            outline = self._kept.get(key)
            if outline is None:
                return None
            if not are_current(outline.stamps):
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return outline

    def keep(self, outline: Outline) -> None:
        key = outline.path, outline.dtype, outline.layout, outline.shard
        with self._lock:
            self._kept[key] = outline
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
