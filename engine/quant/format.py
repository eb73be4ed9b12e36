from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.checkpoint.ggml_types import TYPES_BY_NAME

UnpackBlocks = Callable[[Tensor, Tensor], None]
"""(blocks, values): blocks (n, block_bytes) uint8, values (n, block_size) of any type, to fill."""


@dataclass(frozen=True, slots=True)
class Format:
    """A layout of weights: `block_bytes` bytes hold `block_size` values of one row."""

    name: str
    block_size: int
    block_bytes: int
    unpack_blocks: UnpackBlocks

    def unpack(self, raw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The values of packed rows, in a new tensor.

        raw: (..., blocks * block_bytes) uint8, of any strides and alignment. Gives
        (..., blocks * block_size) of `dtype`: computed in float32, then rounded once. In float32
        equal, bit for bit, to `gguf.quants.dequantize` (up to which NaN a NaN is).
        """
        *leading, row_bytes = raw.shape
        if raw.dtype != torch.uint8 or row_bytes % self.block_bytes:
            what = f"rows of {row_bytes} {raw.dtype}"
            raise ValueError(f"{what}, {self.name} takes uint8 in blocks of {self.block_bytes}")
        row_values = row_bytes // self.block_bytes * self.block_size
        values = torch.empty((*leading, row_values), dtype=dtype, device=raw.device)
        self.unpack_blocks(raw.reshape(-1, self.block_bytes), values.view(-1, self.block_size))
        return values


def ggml_format(name: str, unpack_blocks: UnpackBlocks) -> Format:
    """A format whose block sizes are those that GGML gives the type of that name."""
    kind = TYPES_BY_NAME[name]
    return Format(name, kind.block_size, kind.block_bytes, unpack_blocks)
