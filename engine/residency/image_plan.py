"""What an image of a model holds and where, computed from a checkpoint's headers alone."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import torch
from msgspec import Struct

from engine.checkpoint import Checkpoint
from engine.checkpoint.fingerprint import fingerprint
from engine.kernels.cpu import library
from engine.kernels.weight import DENSE
from engine.models.binding import Binding
from engine.models.blueprint import Blueprint
from engine.models.tiling import kept_as, tiled_extent
from engine.nn.module import Matrix

VERSION = 2
"""Counts up whenever the same checkpoint would give an image of other bytes."""

PAGE = 4096
ALIGNMENT = 64

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
}


class Segment(Struct, frozen=True):
    """One parameter's bytes. dtype: of its values, or what is computed with a tiled weight."""

    path: str
    format: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int

    @property
    def is_tiled(self) -> bool:
        return self.format != DENSE


class ImagePlan(Struct, frozen=True):
    """key: what the image is made of, and how; another key, another image."""

    key: str
    segments: tuple[Segment, ...]

    @property
    def file_bytes(self) -> int:
        last = self.segments[-1]
        return last.offset + last.nbytes

    @property
    def weights_bytes(self) -> int:
        return sum(segment.nbytes for segment in self.segments)


def plan_image(checkpoint: Checkpoint, plan: Blueprint, dtype: torch.dtype) -> ImagePlan:
    """Reads samples of the files. Raises `CheckpointError` where they have changed."""
    return ImagePlan(_key(checkpoint, dtype), tuple(_segments(plan.bindings, dtype)))


def _segments(bindings: Sequence[Binding], dtype: torch.dtype) -> Iterator[Segment]:
    """In the order of computation, behind room for the header."""
    offset = header_bytes(len(bindings))
    for binding in bindings:
        parameter, (kept, _) = binding.parameter, kept_as(binding, dtype)
        name, nbytes = tiled_extent(binding, dtype)
        slot = parameter.slot
        shape = slot.weight_shape if isinstance(slot, Matrix) else slot.shape
        yield Segment(parameter.path, kept, shape, name, offset, nbytes)
        offset = -(-(offset + nbytes) // ALIGNMENT) * ALIGNMENT


def header_bytes(num_segments: int) -> int:
    """Whole pages; room for a table of so many segments, of a kilobyte each at most."""
    return PAGE * (1 + num_segments // 4)


def _key(checkpoint: Checkpoint, dtype: torch.dtype) -> str:
    parts: tuple[Any, ...] = (VERSION, library.VERSION, str(dtype), fingerprint(checkpoint))
    return sha256(msgspec.json.encode(parts)).hexdigest()
