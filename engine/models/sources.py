"""Which rows of which stored tensors make up a parameter."""

import math
from dataclasses import dataclass

from torch import Tensor

from engine.checkpoint import TensorInfo


@dataclass(frozen=True, slots=True)
class Part:
    """Rows start..stop of every one of `num_groups` equal groups of rows."""

    start: int
    stop: int
    num_groups: int = 1

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
class Source:
    """A stored tensor, or the part of its rows that is one parameter's.

    Rows run along the last axis: a stack of matrices (n, out, in) has n * out. of_vectors: each
    value is a row of its own, as in a tensor of one axis.
    """

    tensor: TensorInfo
    part: Part | None = None
    of_vectors: bool = False

    @property
    def num_stored_rows(self) -> int:
        shape = self.tensor.shape
        return math.prod(shape if self.of_vectors or len(shape) == 1 else shape[:-1])

    @property
    def num_rows(self) -> int:
        if self.part is None:
            return self.num_stored_rows
        return (self.part.stop - self.part.start) * self.part.num_groups

    @property
    def nbytes(self) -> int:
        """Of these rows."""
        return self.tensor.nbytes * self.num_rows // max(1, self.num_stored_rows)

    def rows(self, stored: Tensor) -> Tensor:
        """These rows, (num_rows, row bytes), of the tensor's bytes (nbytes,)."""
        if isinstance(self.tensor, TransposedTensor):
            stored = self.tensor.turned(stored)
        rows = stored.view(self.num_stored_rows, -1)
        return rows if self.part is None else self.part.of(rows)
