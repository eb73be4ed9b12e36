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
from engine.residency.checksum import STRIPE
from engine.residency.image_plan import DTYPES, Segment
from engine.residency.loader import materialise, stored_rows

BLOCK_BYTES = 2 * 2**20
"""No piece reaches over a multiple of so many bytes of the file: what is written there at once is
one huge page where it is mapped, and in a core's cache until then."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a segment's bytes.

    start: its place in the segment. rows: what it is made of; they make `made_bytes`, of which
    `skipped` come before it.
    """

    segment: int
    start: int
    nbytes: int
    rows: Weight | Tensor
    format: str
    made_bytes: int
    skipped: int = 0

    def write_to(self, room: Tensor) -> Tensor:
        """The bytes, uint8: in `room`, which holds `room_bytes` and is aligned, or a view."""
        return self._made(room)[self.skipped : self.skipped + self.nbytes]

    @property
    def room_bytes(self) -> int:
        """Whole stripes."""
        is_tiled = self.format.startswith(TILED)
        return -(-self.made_bytes // STRIPE) * STRIPE if is_tiled else 0

    def _made(self, room: Tensor) -> Tensor:
        rows = self.rows
        if isinstance(rows, Tensor):
            return _bytes_of(rows)
        if self.format == DENSE:
            return _bytes_of(rows.unpack(rows.dtype))
        if self.format.startswith(PLANES):
            return _bytes_of(planes_rows(rows))
        out = room[: self.made_bytes]
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
        for start, end in _parts(segment, 0, segment.nbytes):
            nbytes = end - start
            yield Piece(number, start, nbytes, value, segment.format, segment.nbytes, start)
        return
    group = ROWS if segment.is_tiled else 1
    group_bytes = _bytes_for(segment, group)
    first = 0
    for weight in _matrices(checkpoint, config, binding, segment):
        last = first + _bytes_for(segment, len(weight.data))
        for start, end in _parts(segment, first, last):
            groups = slice((start - first) // group_bytes, -(-(end - first) // group_bytes))
            rows = weight.rows(slice(groups.start * group, groups.stop * group))
            made_bytes = _bytes_for(segment, len(rows.data))
            skipped = start - first - groups.start * group_bytes
            yield Piece(number, start, end - start, rows, segment.format, made_bytes, skipped)
        first = last


def _parts(segment: Segment, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Bytes first..last of a segment, cut where a block of the file ends."""
    while first < last:
        block = (segment.offset + first) // BLOCK_BYTES
        end = min(last, (block + 1) * BLOCK_BYTES - segment.offset)
        yield first, end
        first = end


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
    step = ROWS if segment.is_tiled else 1
    is_whole = all(
        source.num_rows % step == 0 and _bytes_for(segment, source.num_rows) % STRIPE == 0
        for source in binding.sources[:-1]
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
