"""Attention to paged caches: decodes, prompts and any mixture, without looking at the device.

A program has a tile of rows times the query heads that share a cache head, as rows of one product, and
one of SPLITS parts of the tokens that they see, as `launches` says.
"""

from dataclasses import dataclass

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.q8_0 import row_size
from engine.kernels.triton import kept, tiles
from engine.kernels.triton.base import INTERPRETS, ceil_div, dot
from engine.kernels.triton.launches import Tile, launches, padded

_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit(do_not_specialize=["num_sequences", "table_row"])
def attention_kernel(  # noqa: C901, PLR0912  # a compilation takes one way
    q, keys, values, out, lse, query_starts, context_lens, block_tables, sinks, alibi,
    num_sequences, table_row, q_row, q_head, key_slot, key_head, value_slot, value_head, scale,
    NUM_HEADS: tl.constexpr, SHARED: tl.constexpr, HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr, KEY_PAD: tl.constexpr, VALUE_PAD: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    BEFORE: tl.constexpr, AFTER: tl.constexpr, SOFTCAP: tl.constexpr, SPLITS: tl.constexpr,
    SINGLES: tl.constexpr, FORMAT: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A row sees BEFORE tokens before its position and AFTER after it, None for all.

    HEADS of the SHARED query heads of a cache head are in a tile, and BLOCK_Q rows: HEADS * BLOCK_Q <=
    BLOCK_M. SINGLES: "only": each sequence with one row is a tile, others are left out; "skipped"; or
    "too". block_tables None: keys and values are those of the rows themselves, a sequence's in order.
    """
    sequence, first_row, start, num_rows = tiles.place(
        query_starts, num_sequences, BLOCK_Q, SINGLES
    )
    if first_row >= num_rows:
        return
    length = num_rows
    if block_tables is not None:
        length = tl.load(context_lens + sequence).to(tl.int32)

    HEAD_TILES: tl.constexpr = (SHARED + HEADS - 1) // HEADS
    kv_head = tl.program_id(1) // HEAD_TILES
    lanes = tl.arange(0, BLOCK_M)
    row = first_row + lanes // HEADS
    shared = tl.program_id(1) % HEAD_TILES * HEADS + lanes % HEADS
    valid = (lanes < HEADS * BLOCK_Q) & (row < num_rows) & (shared < SHARED)
    rows, heads = start + row, kv_head * SHARED + shared
    positions = length - num_rows + row

    dims, value_dims = tl.arange(0, KEY_PAD), tl.arange(0, VALUE_PAD)
    inside, inside_value = dims < KEY_DIM, value_dims < VALUE_DIM
    places = rows[:, None] * q_row + heads[:, None] * q_head + dims[None, :]
    query = tl.load(q + places, mask=valid[:, None] & inside[None, :], other=0.0)
    KIND: tl.constexpr = q.dtype.element_ty

    lowest, end = 0, length
    if BEFORE is not None:
        lowest = tl.maximum(length - num_rows + first_row - BEFORE, 0)
    if AFTER is not None:
        last = tl.minimum(first_row + BLOCK_Q, num_rows) - 1
        end = tl.minimum(length, length - num_rows + last + AFTER + 1)
    # whole blocks of the cache: the tokens of a tile then lie beside each other
    begin, end = tiles.part_of(lowest // BLOCK_SIZE * BLOCK_SIZE, end, SPLITS, BLOCK_N)

    UNIT: tl.constexpr = _LOG2E if SOFTCAP is None else 1.0 / SOFTCAP
    greatest = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    if sinks is not None and SPLITS == 1:
        greatest = tl.load(sinks + heads, mask=valid, other=0.0) * _LOG2E
        total += 1.0
    if alibi is not None:
        slopes = tl.load(alibi + heads, mask=valid, other=0.0) * UNIT
    attended = tl.zeros((BLOCK_M, VALUE_PAD), tl.float32)
    key_rows = kv_head.to(tl.int64) * key_head
    value_rows = kv_head.to(tl.int64) * value_head

    for first in range(begin, end, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        there = (tokens >= lowest) & (tokens < end)
        if block_tables is None:
            slots = start + tokens
        else:
            table = block_tables + sequence.to(tl.int64) * table_row
            slots = tiles.slots_of(table, tokens, there, BLOCK_SIZE)
        key = kept.load(
            keys, slots * key_slot + key_rows, dims, there[:, None] & inside[None, :],
            KIND, FORMAT, KEY_DIM,
        )  # fmt: skip
        scores = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        scores = dot(query, tl.trans(key), scores, UPCAST) * (scale * UNIT)
        if alibi is not None:
            scores += slopes[:, None] * tokens[None, :]
        if SOFTCAP is not None:
            scores = tiles.tanh(scores) * (SOFTCAP * _LOG2E)
        seen = there[None, :]
        if BEFORE is not None:
            seen &= positions[:, None] - tokens[None, :] <= BEFORE
        if AFTER is not None:
            seen &= tokens[None, :] - positions[:, None] <= AFTER
        scores = tl.where(seen, scores, float("-inf"))
        weights, factor, greatest, total = tiles.weigh(scores, greatest, total)
        value = kept.load(
            values, slots * value_slot + value_rows, value_dims,
            there[:, None] & inside_value[None, :], KIND, FORMAT, VALUE_DIM,
        )  # fmt: skip
        attended = dot(weights.to(KIND), value, attended * factor[:, None], UPCAST)

    tiles.store_part(
        out, lse, attended, greatest, total, rows, heads, valid, value_dims,
        VALUE_DIM, NUM_HEADS, SPLITS,
    )  # fmt: skip


def tile_for(
    shared: int,
    longest_query: int,
    dim: int,
    architecture: int,
    element_bytes: int = 2,
    *,
    is_packed: bool = False,
) -> Tile:
    """shared: query heads to a cache head; longest_query: 0 if unknown; dim: the greater, padded.

    architecture: 90 and up have instructions that take an operand of a product from shared memory.
    is_packed: values of the cache are not those of the product, and must be made.
    """
    rows = shared * (longest_query or 128)
    is_small = dim <= 128 and element_bytes == 2
    if longest_query == 1 or rows <= 32:
        block_m = min(max(16, triton.next_power_of_2(rows)), 64)
    else:
        block_m = 128 if is_small and rows > 64 and not is_packed else 64
    if block_m < 64:
        return Tile(min(shared, block_m), block_m, 64 if is_small else 32, 4, 5 if is_small else 3)
    block_n = 64 if is_small and architecture >= 90 else 32
    num_warps = 8 if block_m * dim > 64 * 128 or block_m > 64 or is_packed else 4
    return Tile(min(shared, block_m), block_m, block_n, num_warps, 2)


@dataclass(frozen=True, slots=True)
class Sight:
    """What rows see and how much of it: as `attention_kernel` and `ops.paged_attention` say."""

    scale: float
    before: int | None
    after: int | None
    softcap: float | None = None
    sinks: Tensor | None = None
    alibi: Tensor | None = None

    def farthest(self, length: int, num_rows: int) -> int:
        """How many tokens so many rows of a sequence see at most."""
        if self.before is None or self.after is None:
            return length
        return min(length, self.before + self.after + max(num_rows, 1))


def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    alibi: Tensor | None = None,
) -> Tensor:
    sight = Sight(scale, None if window is None else window - 1, 0, softcap, sinks, alibi)
    is_packed = kept.format_of(values) == kept.Q8
    value_dim = row_size(values.shape[3]) if is_packed else values.shape[3]
    out = torch.empty((*q.shape[:2], value_dim), dtype=q.dtype, device=q.device)
    longest = layout.longest_context or layout.block_tables.shape[1] * layout.block_size
    attend(q, keys, values, out, layout, sight, longest)
    return out


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    out: Tensor,
    layout: BatchLayout,
    sight: Sight,
    longest: int,
    *,
    is_paged: bool = True,
) -> None:
    """Fills out (T, H, d of values). longest: no sequence has more tokens."""
    q = q if q.stride(2) == 1 else q.contiguous()
    num_rows, num_heads, dim = q.shape
    kv_heads, value_dim = keys.shape[-2], out.shape[2]
    shared, num_sequences = num_heads // kv_heads, layout.query_starts.shape[0] - 1
    form, widest = kept.format_of(keys), max(padded(dim), padded(value_dim))
    device, element_bytes = kept.architecture(q.device), q.element_size()
    tables = layout.block_tables if is_paged else None

    def tile(longest_query: int) -> Tile:
        is_packed = form != kept.DENSE
        return tile_for(shared, longest_query, widest, device, element_bytes, is_packed=is_packed)

    for launch in launches(
        num_rows, num_sequences, layout.longest_query, tile,
        lambda tile: kv_heads * ceil_div(shared, tile.heads),
        lambda rows: sight.farthest(longest, rows),
        parts_singles=is_paged,
    ):  # fmt: skip
        cut = launch.tile
        parts, lse = launch.parts_of(out)
        attention_kernel[launch.count, kv_heads * ceil_div(shared, cut.heads), launch.splits](
            q, kept.as_bytes(keys), kept.as_bytes(values), parts, lse, layout.query_starts,
            layout.context_lens, tables, sight.sinks, sight.alibi, num_sequences,
            0 if tables is None else tables.stride(0), *q.stride()[:2],
            *keys.stride()[-3:-1], *values.stride()[-3:-1], sight.scale,
            num_heads, shared, cut.heads, dim, value_dim, padded(dim), padded(value_dim),
            cut.block_m, cut.block_q, cut.block_n, layout.block_size if is_paged else 1,
            sight.before, sight.after, sight.softcap, launch.splits, launch.singles, form, INTERPRETS,
            num_warps=cut.num_warps, num_stages=cut.num_stages,
        )  # fmt: skip
        launch.join(parts, lse, out, sight.sinks, layout)


KERNELS = {"paged_attention": paged_attention}
