"""A stored matrix: its values dense, or in the blocks of a quantised format."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from engine.kernels import registry
from engine.kernels.plane_layouts import PLANES
from engine.kernels.plane_values import plane_values
from engine.kernels.registry import Kernel
from engine.quant import formats

DENSE = "dense"
TILED = "tiled:"
WEIGHT_OPS = ("linear", "logits", "embedding", "expert_linear", "head_linear")


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A matrix of `shape` (out, in), with the kernels for its format and device bound to it.

    format: "dense", the name of a format of `engine.quant`, or "tiled:" or "planes:" and such a name
    data: dense, (out, in) in `dtype`; tiled, flat uint8, see `engine.kernels.cpu.layouts`; otherwise
        the planes (see `engine.kernels.planes`) or blocks of each row, (out, row bytes) uint8
    dtype: what is computed with it: activations have it, and blocks are unpacked to it
    scales: (out, scales of a row), of a format that stores them apart

    Raises `LookupError` where no kernel takes the format.
    """

    format: str
    shape: tuple[int, int]
    data: Tensor
    dtype: torch.dtype
    scales: Tensor | None = None
    kernels: Mapping[str, Kernel] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.data.device.type
        bound = {op: registry.find(op, self.format, device) for op in WEIGHT_OPS}
        object.__setattr__(self, "kernels", bound)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes + (0 if self.scales is None else self.scales.nbytes)

    @property
    def is_tiled(self) -> bool:
        return self.format.startswith(TILED)

    @property
    def is_planes(self) -> bool:
        return self.format.startswith(PLANES)

    def rows(self, which: slice | Tensor) -> "Weight":
        """A run of rows, without a copy, or those of some indices, (n,).

        Raises ValueError for tiled rows: there are only kernels for them, and `unpack`.
        """
        if self.is_tiled:
            raise ValueError("rows of a tiled matrix do not stand by themselves")
        data = self.data[which]
        scales = None if self.scales is None else self.scales[which]
        return replace(self, shape=(len(data), self.shape[1]), data=data, scales=scales)

    def unpack(self, dtype: torch.dtype) -> Tensor:
        """The values, (out, in): in a new tensor, or the data itself where that is `dtype`."""
        if self.format == DENSE:
            return self.data.to(dtype)
        if self.is_tiled:
            untile = registry.find("untile", self.format, self.data.device.type)
            return cast("Tensor", untile(self)).to(dtype)
        if self.is_planes:
            return plane_values(self.format, self.data, self.shape[1]).to(dtype)
        return formats.unpack(self.format, dtype, self.data, self.scales)

    @classmethod
    def dense(cls, data: Tensor) -> "Weight":
        """A matrix of plain values, (out, in)."""
        out_features, in_features = data.shape
        return cls(DENSE, (out_features, in_features), data, data.dtype)
