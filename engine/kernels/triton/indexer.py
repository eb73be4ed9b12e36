"""Choosing which cached tokens to attend to."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton import tiles
from engine.kernels.triton.base import INTERPRETS, ceil_div, dot
from engine.kernels.triton.launches import padded

SCORES_BYTES = 256 * 2**20
"""At a time, of what all tokens are worth to rows."""

_ROWS, _TOKENS = 16, 64


@triton.jit(do_not_specialize=["num_sequences", "table_row", "from_row", "to_row", "longest"])
def worth_kernel(
    q, weights, keys, worth, query_starts, context_lens, block_tables,
    num_sequences, table_row, from_row, to_row, longest, q_row, q_head, weights_row, slot_size,
    HEADS: tl.constexpr, DIM: tl.constexpr, HEADS_PAD: tl.constexpr, DIM_PAD: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    SINGLES: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """Of rows from_row..to_row what tokens are worth, (rows, longest) float32; -inf of those not seen.

    A program has some tokens, which it reads once, and goes through the rows of a tile.
    """
    sequence, first_row, start, num_rows = tiles.place(
        query_starts, num_sequences, BLOCK_Q, SINGLES
    )
    low = tl.maximum(first_row, from_row - start.to(tl.int32))
    high = tl.minimum(tl.minimum(first_row + BLOCK_Q, num_rows), to_row - start.to(tl.int32))
    if low >= high:
        return
    length = tl.load(context_lens + sequence).to(tl.int32)
    tokens = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    there = tokens < tl.minimum(length, length - num_rows + high)
    table = block_tables + sequence.to(tl.int64) * table_row
    slots = tiles.slots_of(table, tokens, there, BLOCK_SIZE)
    dims, heads = tl.arange(0, DIM_PAD), tl.arange(0, HEADS_PAD)
    mask = there[:, None] & (dims < DIM)[None, :]
    key = tl.load(keys + (slots * slot_size)[:, None] + dims[None, :], mask=mask, other=0.0)
    places = heads[:, None] * q_head + dims[None, :]
    inside = (heads < HEADS)[:, None] & (dims < DIM)[None, :]
    for row in range(low, high):
        query = tl.load(q + (start + row) * q_row + places, mask=inside, other=0.0)
        products = dot(query, tl.trans(key), tl.zeros((HEADS_PAD, BLOCK_N), tl.float32), UPCAST)
        of_heads = weights + (start + row) * weights_row + heads
        own = tl.load(of_heads, mask=heads < HEADS, other=0.0).to(tl.float32)
        # not by maximum, which would make zero of NaN
        products = tl.where(products < 0.0, 0.0, products)
        found = tl.sum(products * own[:, None], 0)
        found = tl.where(there & (tokens <= length - num_rows + row), found, float("-inf"))
        tl.store(worth + (start + row - from_row) * longest + tokens, found, mask=tokens < longest)


@triton.jit(do_not_specialize=["num_sequences"])
def all_kernel(
    chosen, query_starts, context_lens, num_sequences,
    TOP_K: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK: tl.constexpr, SINGLES: tl.constexpr,
):  # fmt: skip
    """Chooses every token that a row sees; there are TOP_K at most."""
    sequence, first_row, start, num_rows = tiles.place(
        query_starts, num_sequences, BLOCK_Q, SINGLES
    )
    if first_row >= num_rows:
        return
    length = tl.load(context_lens + sequence).to(tl.int32)
    row = first_row + tl.arange(0, BLOCK_Q)
    tokens = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    seen = tokens[None, :] <= (length - num_rows + row)[:, None]
    pointers = chosen + (start + row)[:, None] * TOP_K + tokens[None, :]
    mask = (row < num_rows)[:, None] & (tokens < TOP_K)[None, :]
    tl.store(pointers, tl.where(seen, tokens[None, :], -1).to(tl.int64), mask=mask)


def choose_tokens(
    q: Tensor, weights: Tensor, index_keys: Tensor, layout: BatchLayout, top_k: int
) -> Tensor:
    num_rows, num_heads, dim = q.shape
    num_sequences = layout.query_starts.shape[0] - 1
    longest = layout.longest_context or layout.block_tables.shape[1] * layout.block_size
    singles = "only" if layout.longest_query == 1 else "too"
    rows = 1 if singles == "only" else _ROWS
    count = num_sequences if singles == "only" else tiles.num_tiles(num_rows, num_sequences, rows)
    chosen = torch.empty((num_rows, top_k), dtype=torch.int64, device=q.device)
    if longest <= top_k:
        block = min(1024, triton.next_power_of_2(top_k))
        all_kernel[count, ceil_div(top_k, block)](
            chosen, layout.query_starts, layout.context_lens, num_sequences, top_k, rows, block, singles
        )  # fmt: skip
        return chosen
    q = q if q.stride(2) == 1 else q.contiguous()
    weights = weights if weights.stride(1) == 1 else weights.contiguous()
    step = max(1, SCORES_BYTES // (4 * longest))
    for first in range(0, num_rows, step):
        last = min(first + step, num_rows)
        worth = torch.empty((last - first, longest), dtype=torch.float32, device=q.device)
        worth_kernel[count, ceil_div(longest, _TOKENS)](
            q, weights, index_keys, worth, layout.query_starts, layout.context_lens,
            layout.block_tables, num_sequences, layout.block_tables.stride(0), first, last, longest,
            *q.stride()[:2], weights.stride(0), index_keys.stride(1), num_heads, dim,
            padded(num_heads), padded(dim), rows, _TOKENS, layout.block_size, singles, INTERPRETS,
        )  # fmt: skip
        best = worth.topk(top_k, dim=-1)
        chosen[first:last] = best.indices.masked_fill(best.values == -torch.inf, -1)
    return chosen


KERNELS = {"choose_tokens": choose_tokens}
