"""Quantised matrices as GPUs read them: each row a few planes, one after another.

A row has its codes, what they have beyond four bits, its scales and so on each in a plane of its own, which
begins at a multiple of 16 bytes: all of them are read 16 bytes at a time, and a row still stands for itself.
`Weight.format` is then "planes:" and the name of the format that it was stored in, whose values it has
exactly.

In each run of 32 values, codes of b bits take 4 * b bytes. A byte j of four-bit codes has values j and
j + 16, from the lowest bits; of pairs of bits, byte 4 * h + j has values 16 * h + j, + 4, + 8 and + 12; of
single bits, byte j has values j, j + 4, ... j + 28. So the same bits of a word of four bytes are always those
of four values in turn.
"""

from torch import Tensor

from engine.kernels.plane_layouts import (
    PLANES,
    planes_format,
    planes_row_bytes,
)
from engine.kernels.plane_packing import planes_rows
from engine.kernels.plane_values import plane_values
from engine.kernels.weight import Weight

__all__ = ["PLANES", "planes_format", "planes_row_bytes", "planes_rows", "unplane"]


def unplane(weight: Weight) -> Tensor:
    """The values of a weight in planes: (N, K) float32, on its device, exactly as stored."""
    return plane_values(weight.format, weight.data, weight.shape[1])
