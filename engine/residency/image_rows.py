"""The bytes of an image's segments, made of a checkpoint in pieces that threads can share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.api import Form
from engine.checkpoint import Checkpoint
from engine.kernels.cpu.layouts import ROWS, tiled_bytes, tiled_format
from engine.kernels.cpu.tiles import pack
from engine.kernels.plane_layouts import PLANES, planes_format
from engine.kernels.planes import planes_rows
from engine.kernels.weight import DENSE, TILED, Weight
from engine.models.binding import Binding
from engine.models.meta import BaseConfig
from engine.nn.module import Matrix
from engine.residency.image_plan import DTYPES, Segment
from engine.residency.loader import materialise, stored_rows

PIECE_BYTES = 2 * 2**20
"""About so much of a segment: small enough to be in a core's cache when it is written out."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a segment's bytes. rows: what they are made of; start: their place in the segment."""

    segment: int
    start: int
    nbytes: int
    rows: Weight | Tensor
    format: str

    def write_to(self, room: Tensor) -> Tensor:
        """The bytes, uint8: in `room`, which holds at least `nbytes` and is aligned, or a view."""
        rows = self.rows
        if isinstance(rows, Tensor):
            return _bytes_of(rows)
        if self.format == DENSE:
            return _bytes_of(rows.unpack(rows.dtype))
        if self.format.startswith(PLANES):
            return _bytes_of(planes_rows(rows))
        out = room[: self.nbytes]
        if tiled_format(rows.format, rows.dtype) != self.format:
            rows = Weight.dense(rows.unpack(rows.dtype))
        pack(self.format, rows, 0, -(-rows.shape[0] // ROWS), out)
        return out


def pieces(
    checkpoint: Checkpoint, config: BaseConfig, number: int, binding: Binding, segment: Segment
) -> Iterator[Piece]:
    """All of a segment's, in order. Reading and changing rows is done here, tiling in the piece."""
    if not isinstance(binding.parameter.slot, Matrix):
        value = materialise(checkpoint, binding, config, "dense", DTYPES[segment.dtype])
        assert isinstance(value, Tensor), "what is no matrix is no weight"
        yield Piece(number, 0, segment.nbytes, value, segment.format)
        return
    step = max(1, PIECE_BYTES // _bytes_for(segment, ROWS)) * ROWS
    start = 0
    for weight in _matrices(checkpoint, config, binding, segment):
        for first in range(0, weight.shape[0], step):
            rows = weight.rows(slice(first, first + step))
            nbytes = _bytes_for(segment, len(rows.data))
            yield Piece(number, start, nbytes, rows, segment.format)
            start += nbytes


def _bytes_for(segment: Segment, rows: int) -> int:
    """What so many rows of a matrix take."""
    count, columns = segment.shape
    if segment.is_tiled:
        return tiled_bytes(segment.format, rows, columns)
    return segment.nbytes // count * rows


def _bytes_of(values: Tensor) -> Tensor:
    return values.contiguous().view(-1).view(torch.uint8)


def _matrices(
    checkpoint: Checkpoint, config: BaseConfig, binding: Binding, segment: Segment
) -> Iterator[Weight]:
    """The rows of a parameter, stored or dense, one run of whole tiles after the other."""
    dtype = DTYPES[segment.dtype]
    is_whole = not segment.is_tiled or all(
        source.num_rows % ROWS == 0 for source in binding.sources[:-1]
    )
    if binding.transform is None and is_whole:
        for source in binding.sources:
            yield stored_rows(checkpoint, source, segment.shape[1], dtype)
        return
    format_of = planes_format if segment.is_planes else tiled_format
    stored = format_of(binding.sources[0].tensor.type, dtype)
    form: Form = "packed" if stored == segment.format else "dense"
    # Float16 is no smaller than bfloat16, so it counts as dense.
    kept = torch.float16 if segment.format == f"{TILED}F16" else dtype
    value = materialise(checkpoint, binding, config, form, kept)
    assert isinstance(value, Weight), "a matrix is a weight"
    yield value
