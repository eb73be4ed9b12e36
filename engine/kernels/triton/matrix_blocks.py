"""How products with a matrix are cut into programs: by shapes alone, to be changed once measured."""

from typing import NamedTuple

import triton

from engine.kernels.plane_layouts import plane_format
from engine.kernels.triton.base import ceil_div
from engine.kernels.weight import DENSE

_PROGRAMS = 264
"""That keep a large GPU busy: two for each of an H100's multiprocessors."""


class Vectors(NamedTuple):
    """How `gemv_kernel` is launched."""

    rows: int
    rows_at_once: int
    block_k: int
    num_warps: int


class Tiles(NamedTuple):
    """How `gemm_kernel` is launched."""

    block_m: int
    block_n: int
    block_k: int
    parts: int
    num_warps: int
    num_stages: int


def vectors(num_tokens: int, rows: int, columns: int, *, dense: bool) -> Vectors:
    """num_tokens: a power of two. The fewer rows, the more of their columns are read at a time."""
    num_warps = 4
    if dense:
        return Vectors(4, 4, block_of(columns, 2048 if num_tokens <= 2 else 1024, 8), num_warps)
    block_k = block_of(columns, 1024 if rows >= 8192 else 2048 if rows >= 4096 else 4096, 32)
    at_once = max(1, 32 * num_warps * 32 // block_k)
    return Vectors(at_once * (2 if num_tokens == 2 else 4), at_once, block_k, num_warps)


def tiles(
    num_tokens: int, rows: int, columns: int, format_name: str, *, gated: bool, exact: bool
) -> Tiles:
    """Smaller ones where registers would not do: for two matrices, or codes in two planes or of a byte."""
    bits = () if format_name == DENSE else plane_format(format_name).bits
    is_heavy = gated or len(bits) > 1
    block_m = min(64 if exact else 128, max(16, triton.next_power_of_2(num_tokens)))
    block_n = 128 if block_m == 128 and not is_heavy else 64
    if exact or block_m == 128:
        most_k = 32
    else:
        most_k = 128 if block_m == 16 and not is_heavy and bits != (8,) else 64
    block_k = block_of(columns, most_k, 32)
    programs = ceil_div(rows, block_n) * ceil_div(num_tokens, block_m)
    parts = max(1, min(8, _PROGRAMS // programs, columns // (4 * block_k)))
    return Tiles(block_m, block_n, block_k, parts, 8 if block_m == 128 else 4, 3)


def block_of(columns: int, most: int, least: int) -> int:
    """A power of two up to `most` of which whole ones are little more than the columns."""
    block = most
    while block > least and ceil_div(columns, block) * block - columns > columns // 8:
        block //= 2
    return block
