"""The rows that experts work on, in tiles of one expert each, found without looking from the host.

A pair is a row and one of its experts: pair p is `chosen.flatten()[p]` and row p // top_k.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor
from triton import language as tl


@dataclass(frozen=True, slots=True)
class ExpertOrder:
    """Pairs by their expert, in their own order within it.

    pairs: (tiles * rows,) int32, those of each tile; the number of pairs where it is not full
    experts: (tiles,) int32, whose each tile is; -1 for what is left over
    num_pairs, rows: in all, and of a tile
    """

    pairs: Tensor
    experts: Tensor
    num_pairs: int
    rows: int


@triton.jit(do_not_specialize=["num_pairs", "num_tiles"])
def _order_kernel(
    chosen_at,
    pairs_at,
    experts_at,
    num_pairs,
    num_tiles,
    E: tl.constexpr,
    ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
    BINS: tl.constexpr,
):
    """One program for each expert: counts all pairs, so that it knows where its own begin."""
    expert = tl.program_id(0)
    lanes = tl.arange(0, CHUNK)
    bins = tl.arange(0, BINS)
    counts = tl.zeros([BINS], tl.int32)
    for first in range(0, num_pairs, CHUNK):
        is_pair = first + lanes < num_pairs
        chosen = tl.load(chosen_at + first + lanes, mask=is_pair, other=E).to(tl.int32)
        counts += tl.histogram(chosen, BINS)
    tiles = tl.where(bins < E, (counts + (ROWS - 1)) // ROWS, 0)
    first_tile = tl.sum(tl.where(bins < expert, tiles, 0), 0)
    own_tiles = tl.sum(tl.where(bins == expert, tiles, 0), 0)

    own_at = pairs_at + first_tile * ROWS
    written = tl.zeros([], tl.int32)
    for first in range(0, num_pairs, CHUNK):
        is_pair = first + lanes < num_pairs
        chosen = tl.load(chosen_at + first + lanes, mask=is_pair, other=E).to(tl.int32)
        is_own = (chosen == expert).to(tl.int32)
        places = written + tl.cumsum(is_own, 0) - 1
        tl.store(own_at + places, first + lanes, mask=is_own == 1)
        written += tl.sum(is_own, 0)

    rest = written + tl.arange(0, ROWS)
    tl.store(own_at + rest, tl.zeros_like(rest) + num_pairs, mask=rest < own_tiles * ROWS)
    for first in range(0, own_tiles, CHUNK):
        places = first_tile + first + lanes
        is_tile = first + lanes < own_tiles
        tl.store(experts_at + places, tl.zeros_like(places) + expert, mask=is_tile)
    if expert == E - 1:
        for first in range(first_tile + own_tiles, num_tiles, CHUNK):
            places = first + lanes
            tl.store(experts_at + places, tl.full([CHUNK], -1, tl.int32), mask=places < num_tiles)


def expert_order(chosen: Tensor, num_experts: int, rows: int) -> ExpertOrder:
    """chosen: (T, top_k) int64. rows: of a tile, a power of 2."""
    num_pairs = chosen.numel()
    begun = min(num_experts, num_pairs)
    num_tiles = min(num_pairs, (num_pairs + begun * (rows - 1)) // rows)
    pairs = torch.empty(num_tiles * rows, dtype=torch.int32, device=chosen.device)
    experts = torch.empty(num_tiles, dtype=torch.int32, device=chosen.device)
    _order_kernel[(num_experts,)](
        chosen.contiguous(),
        pairs,
        experts,
        num_pairs,
        num_tiles,
        E=num_experts,
        ROWS=rows,
        BINS=triton.next_power_of_2(num_experts + 1),
        **order_blocks(num_pairs),
    )
    return ExpertOrder(pairs, experts, num_pairs, rows)


def order_blocks(num_pairs: int) -> dict[str, int]:
    """How many pairs a program of `_order_kernel` looks at at once."""
    return {"CHUNK": 4096, "num_warps": 8} if num_pairs > 4096 else {"CHUNK": 1024, "num_warps": 4}
