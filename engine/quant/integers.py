"""Integers in groups: (code - zero) * scale, each run of a row with a scale and a zero of its own.

Row r of a matrix is its codes, and for every run of inputs a pair of float32: scale and zero. Four
bits: value 2j is the low half of byte j, value 2j + 1 the high half. Whatever quantised a
checkpoint, these are what is kept of it: larger groups are runs that repeat their pair.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.quant.scaled import ScaledFormat

RUNS = (128, 32)
"""How many values of a row may share a pair; the last run of a row may have fewer."""


def format_of(bits: int, group_size: int, num_groups: int) -> str | None:
    """The format for groups of that size, None where runs of no length fit them."""
    fitting = (run for run in RUNS if num_groups == 1 or group_size % run == 0)
    run = next(fitting, None)
    return None if run is None else f"INT{bits}_{run}"


def run_of(name: str) -> int:
    """How many values share a pair in the format of that name."""
    return int(name.rpartition("_")[2])


def num_pairs(name: str, width: int) -> int:
    """Of a row of so many values."""
    return -(-width // run_of(name))


def in_runs(name: str, groups: Tensor, group_size: int, width: int) -> Tensor:
    """(rows, groups, ...) repeated to (rows, runs, ...)."""
    starts = torch.arange(num_pairs(name, width)) * run_of(name)
    return groups[:, (starts // group_size).clamp(max=groups.shape[1] - 1)]


def split_nibbles(codes: Tensor) -> Tensor:
    """(rows, bytes) as (rows, 2 * bytes): the low half of each byte, then its high half."""
    return torch.stack((codes & 0x0F, codes >> 4), dim=2).flatten(1)


def join_nibbles(codes: Tensor) -> Tensor:
    """The other way, from codes below 16: (rows, 2 * bytes) to (rows, bytes)."""
    return codes[:, 0::2] | codes[:, 1::2] << 4


def _decode(run: int, bits: int) -> Callable[[Tensor, Tensor], Tensor]:
    def decode(codes: Tensor, pairs: Tensor) -> Tensor:
        values = (split_nibbles(codes) if bits == 4 else codes).float()
        scales, zeros = pairs.view(len(pairs), -1, 2).unbind(2)
        for index in range(scales.shape[1]):
            piece = values[:, index * run : (index + 1) * run]
            piece.sub_(zeros[:, index, None]).mul_(scales[:, index, None])
        return values

    return decode


FORMATS = tuple(
    ScaledFormat(f"INT{bits}_{run}", 8 // bits, _decode(run, bits))
    for bits in (4, 8)
    for run in RUNS
)
