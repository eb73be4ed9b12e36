"""A stored matrix: its values dense, or in the blocks of a quantised format."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.kernels import registry
from engine.kernels.registry import Kernel

DENSE = "dense"
WEIGHT_OPS = ("linear", "logits", "embedding")


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A matrix of `shape` (out, in), with the kernels for its format and device bound to it.

    format: "dense", or the name of a format of `engine.quant`
    data: dense, (out, in) in `dtype`; otherwise the blocks of each row, (out, row bytes) uint8
    dtype: what is computed with it: activations have it, and blocks are unpacked to it

    Raises `LookupError` where no kernel takes the format.
    """

    format: str
    shape: tuple[int, int]
    data: Tensor
    dtype: torch.dtype
    kernels: Mapping[str, Kernel] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.data.device.type
        bound = {op: registry.find(op, self.format, device) for op in WEIGHT_OPS}
        object.__setattr__(self, "kernels", bound)

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    @classmethod
    def dense(cls, data: Tensor) -> "Weight":
        """A matrix of plain values, (out, in)."""
        out_features, in_features = data.shape
        return cls(DENSE, (out_features, in_features), data, data.dtype)
