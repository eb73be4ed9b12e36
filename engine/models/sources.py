"""Which rows of which stored tensors make up a parameter."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint import TensorInfo


@dataclass(frozen=True, slots=True)
class Part:
    """Rows start..stop of every one of `num_groups` equal groups of rows."""

    start: int
    stop: int
    num_groups: int = 1

    @property
    def num_rows(self) -> int:
        return (self.stop - self.start) * self.num_groups

    def of(self, rows: Tensor) -> Tensor:
        """Whole rows move, so this holds for packed ones too. A view where there is one group."""
        groups = rows.view(self.num_groups, -1, *rows.shape[1:])
        return groups[:, self.start : self.stop].flatten(0, 1)


@dataclass(frozen=True, slots=True)
class TransposedTensor(TensorInfo):
    """Matrices that are stored as (n, in, out) or (in, out). shape: as if the other way round."""

    def turned(self, stored: Tensor) -> Tensor:
        """The tensor's bytes in the order of its shape."""
        *count, out_features, in_features = self.shape
        return stored.view(*count, in_features, out_features, -1).transpose(-3, -2).flatten()


@dataclass(frozen=True, slots=True)
class Columns:
    """Values start..stop of every row, of which both are multiples of the format's blocks.

    block: so many values share a scale, where scales are stored apart.
    """

    start: int
    stop: int
    block: int

    def of(self, rows: Tensor, width: int) -> Tensor:
        """rows: (n, whatever `width` values take)."""
        start, stop = (place * rows.shape[1] // width for place in (self.start, self.stop))
        return rows[:, start:stop].contiguous()

    def of_scales(self, scales: Tensor, width: int) -> Tensor:
        """scales: (n, those of the blocks of `width` values)."""
        each = scales.shape[1] // -(-width // self.block)
        start, stop = self.start // self.block, -(-self.stop // self.block)
        return scales[:, start * each : stop * each].contiguous()


@dataclass(frozen=True, slots=True)
class Source:
    """A stored tensor, or the part of its rows that is one parameter's.

    Rows run along the last axis: a stack of matrices (n, out, in) has n * out. of_vectors: each
    value is a row of its own, as in a tensor of one axis.
    share: of those rows, the ones that a rank has; columns: of each row, the values that it has.
    is_blank: only the shape counts, and all is zero.
    """

    tensor: TensorInfo
    part: Part | None = None
    of_vectors: bool = False
    share: Part | None = None
    columns: Columns | None = None
    is_blank: bool = False

    @property
    def num_stored_rows(self) -> int:
        shape = self.tensor.shape
        return math.prod(shape if self.of_vectors or len(shape) == 1 else shape[:-1])

    @property
    def num_rows(self) -> int:
        last = self.share or self.part
        return self.num_stored_rows if last is None else last.num_rows

    @property
    def width(self) -> int:
        """Values of a stored row."""
        return math.prod(self.tensor.shape) // max(1, self.num_stored_rows)

    @property
    def nbytes(self) -> int:
        """Of these rows."""
        nbytes = self.tensor.nbytes * self.num_rows // max(1, self.num_stored_rows)
        if self.columns is None:
            return nbytes
        return nbytes * (self.columns.stop - self.columns.start) // self.width

    def rows(self, stored: Tensor) -> Tensor:
        """These rows, (num_rows, row bytes), of the tensor's bytes (nbytes,)."""
        if isinstance(self.tensor, TransposedTensor):
            stored = self.tensor.turned(stored)
        rows = self._rows(stored)
        if self.columns is not None:
            rows = self.columns.of(rows, self.width)
        return torch.zeros_like(rows) if self.is_blank else rows

    def scales(self, stored: Tensor) -> Tensor:
        """Of these rows, (num_rows, scales of a row), where they are stored apart."""
        rows = self._rows(stored)
        return rows if self.columns is None else self.columns.of_scales(rows, self.width)

    def _rows(self, stored: Tensor) -> Tensor:
        rows = stored.view(self.num_stored_rows, -1)
        for part in (self.part, self.share):
            rows = rows if part is None else part.of(rows)
        return rows
