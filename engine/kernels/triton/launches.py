"""How attention is cut into programs, by upper bounds alone, and its parts joined.

Any cut gives the same result: no program trusts a bound.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton import tiles
from engine.kernels.triton.base import ceil_div

Singles = Literal["only", "skipped", "too"]
"""Whether sequences with one row are all that a launch does, are left out, or are done as any."""

_LOG2E = tl.constexpr(1.4426950408889634)
_PROGRAMS = 264
"""That keep a large GPU busy: two for each of an H100's multiprocessors."""
_MOST_SPLITS = 64
_SPLIT_TOKENS = 256
"""With fewer a part is not worth joining."""


def padded(dim: int) -> int:
    """Tensor cores take 16 at least."""
    return max(16, 1 << (dim - 1).bit_length())


@dataclass(frozen=True, slots=True)
class Tile:
    """block_m lanes of `heads` heads each for as many rows as there is room, at most most_rows."""

    heads: int
    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    most_rows: int = 2**30

    @property
    def block_q(self) -> int:
        return min(self.block_m // self.heads, self.most_rows)


@dataclass(frozen=True, slots=True)
class Launch:
    """Tiles, counted, for each of which as many programs look at parts of the tokens."""

    tile: Tile
    count: int
    splits: int
    singles: Singles

    def parts_of(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """What programs write: out itself, or parts of it and their sums, to be joined."""
        if self.splits == 1:
            return out, out
        parts = (*out.shape[:2], self.splits, out.shape[2])
        return (
            torch.empty(parts, dtype=torch.float32, device=out.device),
            torch.empty(parts[:3], dtype=torch.float32, device=out.device),
        )

    def join(
        self, parts: Tensor, lse: Tensor, out: Tensor, sinks: Tensor | None, layout: BatchLayout
    ) -> None:
        if self.splits == 1:
            return
        num_heads, value_dim = out.shape[1:]
        singles_of = layout.query_starts if self.singles == "only" else None
        rows = out.shape[0] if singles_of is None else singles_of.shape[0] - 1
        block = min(128, triton.next_power_of_2(value_dim))
        combine_kernel[rows, num_heads, ceil_div(value_dim, block)](
            parts, lse, out, singles_of, sinks, num_heads, value_dim, self.splits, block
        )


def launches(
    num_rows: int,
    num_sequences: int,
    longest_query: int,
    tile_for: Callable[[int], Tile],
    per_tile: Callable[[Tile], int],
    farthest: Callable[[int], int],
    *,
    parts_singles: bool,
) -> list[Launch]:
    """The launches that do all rows.

    tile_for: by the longest query, 0 for unknown. per_tile: how many programs a tile makes, of heads
    alone. farthest: how many tokens so many rows of a sequence see at most. parts_singles: where the
    others need no parts, rows alone in their sequence have tiles and parts of their own.
    """
    done: list[Launch] = []
    if longest_query != 1:
        tile = tile_for(longest_query)
        count = tiles.num_tiles(num_rows, num_sequences, tile.block_q)
        splits = num_splits(count * per_tile(tile), farthest(longest_query or num_rows))
        if splits > 1 or num_sequences == 1 or not parts_singles:
            return [Launch(tile, count, splits, "too")]
        done.append(Launch(tile, count, splits, "skipped"))
    tile = tile_for(1)
    splits = num_splits(num_sequences * per_tile(tile), farthest(1))
    return [*done, Launch(tile, num_sequences, splits, "only")]


def num_splits(programs: int, longest: int) -> int:
    """A power of two: enough to keep a GPU busy where that many programs would not."""
    wanted = min(_PROGRAMS // max(programs, 1), longest // _SPLIT_TOKENS, _MOST_SPLITS)
    return 1 << max(wanted.bit_length() - 1, 0)


@triton.jit
def combine_kernel(
    parts, lse, out, query_starts, sinks,
    NUM_HEADS: tl.constexpr, VALUE_DIM: tl.constexpr, SPLITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Joins what `tiles.store_part` left; query_starts: only of sequences with one row."""
    row = tl.program_id(0).to(tl.int64)
    if query_starts is not None:
        start = tl.load(query_starts + row)
        if tl.load(query_starts + row + 1) - start != 1:
            return
        row = start
    place = row * NUM_HEADS + tl.program_id(1)
    splits = tl.arange(0, SPLITS)
    logs = tl.load(lse + place * SPLITS + splits)
    greatest = tl.max(logs, 0)
    if sinks is not None:
        sink = tl.load(sinks + tl.program_id(1)) * _LOG2E
        greatest = tl.maximum(greatest, sink)
    greatest = tl.where(greatest == float("-inf"), 0.0, greatest)
    weights = tl.exp2(logs - greatest)
    total = tl.sum(weights, 0)
    if sinks is not None:
        total += tl.exp2(sink - greatest)
    columns = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < VALUE_DIM
    pointers = parts + (place * SPLITS + splits)[:, None] * VALUE_DIM + columns[None, :]
    means = tl.load(pointers, mask=inside[None, :], other=0.0)
    joined = tl.sum(means * weights[:, None], 0) / tl.where(total == 0.0, 1.0, total)
    pointers = out + place * VALUE_DIM + columns
    tl.store(pointers, joined.to(out.dtype.element_ty), mask=inside)
