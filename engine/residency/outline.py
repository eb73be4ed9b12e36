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
from engine.kernels.trace import Tape
from engine.models.blueprint import blueprint
from engine.models.card import operation_bytes, tape_of
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.nn.model import Model
from engine.residency.image_plan import ImagePlan, plan_image

MAX_OUTLINES = 64
"""By default: some hundred kilobytes each, the more the more layers a model has."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A checkpoint understood for what is computed in one dtype; nothing of its vocabulary.

    operation_bytes: as of `engine.models.card`.
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

    def build(self) -> Model:
        """The model without weights, its parameters those of the plan's segments, in order."""
        return self.family.model(self.config)


def outline_of(checkpoint: Checkpoint, dtype: torch.dtype) -> Outline:
    """From headers and samples alone. Raises `CheckpointError`."""
    understood = blueprint(checkpoint)
    plan = plan_image(checkpoint, understood, dtype)
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
        operation_bytes(understood),
    )


def identity(stamps: Stamps, digest: str, *how: str) -> str:
    """One word for a state of a checkpoint, and for how it was loaded."""
    # where it was read from does not matter: a link to a checkpoint is that checkpoint
    return sha256(msgspec.json.encode(([stamp for _, stamp in stamps], digest, how))).hexdigest()


class Outlines:
    """Those used last, by path and dtype, as long as their files are what they were.

    Any thread may call.
    """

    def __init__(self, limit: int = MAX_OUTLINES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Path, torch.dtype], Outline] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, path: Path, dtype: torch.dtype) -> Outline | None:
        """None where there is none, or where a file was changed since."""
        key = path, dtype
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
        key = outline.path, outline.dtype
        with self._lock:
            self._kept[key] = outline
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
