"""Formats of two tensors: row r of a matrix is row r of its codes and row r of its scales.

Hugging Face stores them so. Since rows stay whole, whatever moves or cuts the rows of a matrix
holds for the codes and for the scales alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.quant.microscaling import doubled_steps, half_power

SCALE_BLOCK = 128
"""Rows and columns that share a scale, where scales are of blocks."""

_VALUES_AT_A_TIME = 2**20


@dataclass(frozen=True, slots=True)
class ScaledFormat:
    """decode: (codes, scales) of some rows to their values, float32."""

    name: str
    values_per_byte: int
    decode: Callable[[Tensor, Tensor], Tensor]

    def unpack(self, codes: Tensor, scales: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """The values of rows, in a new tensor: computed in float32, then rounded once.

        codes: (rows, bytes) uint8. scales: (rows, scales of a row) in the type that `decode` has.
        """
        num_rows, row_bytes = codes.shape
        row_values = row_bytes * self.values_per_byte
        values = torch.empty((num_rows, row_values), dtype=dtype, device=codes.device)
        step = max(1, _VALUES_AT_A_TIME // max(1, row_values))
        for start in range(0, num_rows, step):
            piece = slice(start, start + step)
            values[piece] = self.decode(codes[piece], scales[piece])
        return values


def _fp8_in_blocks(codes: Tensor, scales: Tensor) -> Tensor:
    """A float32 scale for every 128 values of a row; the last may have fewer."""
    values = codes.view(torch.float8_e4m3fn).float()
    num_whole = values.shape[1] // SCALE_BLOCK
    whole, rest = values.tensor_split([num_whole * SCALE_BLOCK], dim=1)
    whole.view(len(values), num_whole, SCALE_BLOCK).mul_(scales[:, :num_whole, None])
    rest.mul_(scales[:, num_whole:])
    return values


def _fp8_in_rows(codes: Tensor, scales: Tensor) -> Tensor:
    return codes.view(torch.float8_e4m3fn).float() * scales


def _mxfp4(codes: Tensor, scales: Tensor) -> Tensor:
    """Value 2j is the low nibble of byte j, value 2j + 1 the high one; an e8m0 byte for each 32."""
    pairs = torch.stack((codes & 0x0F, codes >> 4), dim=2)
    values = doubled_steps(codes.device)[pairs.int()].view(*scales.shape, -1)
    return values.mul_(half_power(scales).unsqueeze(2)).flatten(1)


FORMATS = (
    ScaledFormat("FP8_BLOCK", 1, _fp8_in_blocks),
    ScaledFormat("FP8_ROW", 1, _fp8_in_rows),
    ScaledFormat("MXFP4_SPLIT", 2, _mxfp4),
)
