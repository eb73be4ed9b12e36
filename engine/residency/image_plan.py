"""What an image of a model holds and where, computed from a checkpoint's headers alone."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
import torch
from msgspec import Struct

from engine.checkpoint import Checkpoint
from engine.checkpoint.fingerprint import fingerprint
from engine.kernels.cpu import library
from engine.kernels.plane_layouts import PLANES
from engine.kernels.weight import TILED
from engine.models.binding import Binding
from engine.models.blueprint import Blueprint
from engine.models.planes import PAGE, places, planes_extent, planes_kept_as
from engine.models.shards import Shard
from engine.models.tiling import kept_as, tiled_extent
from engine.nn.module import Matrix

VERSION = 2
"""Counts up whenever the same checkpoint would give an image of other bytes."""

PLANES_VERSION = 1
"""The same, of the layout "planes" alone."""

ALIGNMENT = 64

Layout = Literal["tiled", "planes"]
"""What native kernels read, and what those of a GPU do."""

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
}


class Segment(Struct, frozen=True):
    """One parameter's bytes. dtype: of its values, or what is computed with a packed weight."""

    path: str
    format: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int

    @property
    def is_tiled(self) -> bool:
        return self.format.startswith(TILED)

    @property
    def is_planes(self) -> bool:
        return self.format.startswith(PLANES)

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


class ImagePlan(Struct, frozen=True):
    """key: what the image is made of, and how; another key, another image.

    segments: in the order of the model's parameters, which need not be that of their places.
    """

    key: str
    segments: tuple[Segment, ...]

    @property
    def first_byte(self) -> int:
        """Where segments begin, behind the header."""
        return min(segment.offset for segment in self.segments)

    @property
    def file_bytes(self) -> int:
        return max(segment.end for segment in self.segments)

    @property
    def weights_bytes(self) -> int:
        return sum(segment.nbytes for segment in self.segments)


def plan_image(
    checkpoint: Checkpoint, plan: Blueprint, dtype: torch.dtype, layout: Layout = "tiled"
) -> ImagePlan:
    """Of a model, or of a rank's part of one. Reads samples of the files.

    Raises `CheckpointError` where they have changed.
    """
    segments = _tiled(plan.bindings, dtype) if layout == "tiled" else _planes(plan.bindings, dtype)
    return ImagePlan(_key(checkpoint, dtype, layout, plan.shard), tuple(segments))


def _tiled(bindings: Sequence[Binding], dtype: torch.dtype) -> Iterator[Segment]:
    """In the order of computation, behind room for the header."""
    offset = header_bytes(len(bindings))
    for binding in bindings:
        kept, _ = kept_as(binding, dtype)
        name, nbytes = tiled_extent(binding, dtype)
        yield Segment(binding.parameter.path, kept, _shape(binding), name, offset, nbytes)
        offset = -(-(offset + nbytes) // ALIGNMENT) * ALIGNMENT


def _planes(bindings: Sequence[Binding], dtype: torch.dtype) -> Iterator[Segment]:
    offsets, _ = places(bindings, dtype)
    first = header_bytes(len(bindings))
    for binding, offset in zip(bindings, offsets, strict=True):
        form, kept = planes_kept_as(binding, dtype)
        name, nbytes = str(kept).removeprefix("torch."), planes_extent(binding, dtype)
        path = binding.parameter.path
        yield Segment(path, form, _shape(binding), name, first + offset, nbytes)


def _shape(binding: Binding) -> tuple[int, ...]:
    slot = binding.parameter.slot
    return slot.weight_shape if isinstance(slot, Matrix) else slot.shape


def header_bytes(num_segments: int) -> int:
    """Whole pages; room for a table of so many segments, of a kilobyte each at most."""
    return PAGE * (1 + num_segments // 4)


def _key(checkpoint: Checkpoint, dtype: torch.dtype, layout: Layout, shard: Shard | None) -> str:
    how = library.VERSION if layout == "tiled" else f"planes {PLANES_VERSION}"
    parts: tuple[Any, ...] = (VERSION, how, str(dtype), fingerprint(checkpoint))
    if shard is not None:
        parts += (shard.rank, shard.size)
    return sha256(msgspec.json.encode(parts)).hexdigest()
