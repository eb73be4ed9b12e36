"""Attention of all heads to one cached latent per token: `attention` with keys that have the values in them."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton import tiles
from engine.kernels.triton.base import INTERPRETS, ceil_div, dot
from engine.kernels.triton.launches import Tile, launches, padded

_LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit(do_not_specialize=["num_sequences", "table_row"])
def latent_kernel(  # as attention_kernel
    q, latents, out, lse, query_starts, context_lens, block_tables, chosen,
    num_sequences, table_row, q_row, q_head, slot_size, scale,
    NUM_HEADS: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    VALUE_PAD: tl.constexpr, REST_PAD: tl.constexpr, CHOSEN: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    SPLITS: tl.constexpr, SINGLES: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """As `attention.attention_kernel`. CHOSEN: how many positions each row names, one row to a tile."""
    sequence, first_row, start, num_rows = tiles.place(
        query_starts, num_sequences, BLOCK_Q, SINGLES
    )
    if first_row >= num_rows:
        return
    length = tl.load(context_lens + sequence).to(tl.int32)

    lanes = tl.arange(0, BLOCK_M)
    row, heads = first_row + lanes // HEADS, tl.program_id(1) * HEADS + lanes % HEADS
    valid = (lanes < HEADS * BLOCK_Q) & (row < num_rows) & (heads < NUM_HEADS)
    rows, positions = start + row, length - num_rows + row
    dims, rest = tl.arange(0, VALUE_PAD), VALUE_DIM + tl.arange(0, REST_PAD)
    inside, inside_rest = (dims < VALUE_DIM)[None, :], (rest < DIM)[None, :]
    places = (q + rows * q_row + heads * q_head)[:, None]
    query = tl.load(places + dims[None, :], mask=valid[:, None] & inside, other=0.0)
    if DIM > VALUE_DIM:
        query_rest = tl.load(places + rest[None, :], mask=valid[:, None] & inside_rest, other=0.0)

    if CHOSEN:
        limit = CHOSEN
    else:
        last = tl.minimum(first_row + BLOCK_Q, num_rows) - 1
        limit = tl.minimum(length, length - num_rows + last + 1)
    begin, end = tiles.part_of(0, limit, SPLITS, BLOCK_N)
    greatest = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    attended = tl.zeros((BLOCK_M, VALUE_PAD), tl.float32)
    table = block_tables + sequence.to(tl.int64) * table_row

    for first in range(begin, end, BLOCK_N):
        tokens = first + tl.arange(0, BLOCK_N)
        there = tokens < end
        if CHOSEN:
            own = chosen + (start + first_row) * CHOSEN + tokens
            tokens = tl.load(own, mask=there, other=-1).to(tl.int32)
            there = (tokens >= 0) & (tokens < length)
            tokens = tl.where(there, tokens, 0)
        slots = tiles.slots_of(table, tokens, there, BLOCK_SIZE)
        keys = latents + (slots * slot_size)[:, None]
        latent = tl.load(keys + dims[None, :], mask=there[:, None] & inside, other=0.0)
        scores = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        scores = dot(query, tl.trans(latent), scores, UPCAST)
        if DIM > VALUE_DIM:
            key = tl.load(keys + rest[None, :], mask=there[:, None] & inside_rest, other=0.0)
            scores = dot(query_rest, tl.trans(key), scores, UPCAST)
        seen = there[None, :] & (tokens[None, :] <= positions[:, None])
        scores = tl.where(seen, scores * (scale * _LOG2E), float("-inf"))
        weights, factor, greatest, total = tiles.weigh(scores, greatest, total)
        weights = weights.to(q.dtype.element_ty)
        attended = dot(weights, latent, attended * factor[:, None], UPCAST)

    tiles.store_part(
        out, lse, attended, greatest, total, rows, heads, valid, dims, VALUE_DIM, NUM_HEADS, SPLITS
    )


def latent_tile(
    num_heads: int, longest_query: int, element_bytes: int = 2, *, chooses: bool
) -> Tile:
    """chooses: each row has tokens of its own. The rest as of `attention.tile_for`.

    With 64 lanes what is attended to, 512 values of each, takes more registers than there are.
    """
    rows = num_heads * (1 if chooses else longest_query or 64)
    most_rows = 1 if chooses else 2**30
    if element_bytes > 2:
        return Tile(min(num_heads, 16), 16, 16, 4, 2, most_rows)
    if rows <= 16:
        return Tile(min(num_heads, 16), 16, 32, 4, 5, most_rows)
    return Tile(min(num_heads, 32), 32, 32, 8, 3, most_rows)


def latent_attention(
    q: Tensor,
    latents: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    value_dim: int,
    chosen: Tensor | None = None,
) -> Tensor:
    q = q if q.stride(2) == 1 else q.contiguous()
    num_rows, num_heads, dim = q.shape
    num_sequences = layout.query_starts.shape[0] - 1
    out = torch.empty((num_rows, num_heads, value_dim), dtype=q.dtype, device=q.device)
    chosen = None if chosen is None else chosen.contiguous()
    num_chosen = 0 if chosen is None else chosen.shape[1]
    known = layout.longest_context or layout.block_tables.shape[1] * layout.block_size
    longest = num_chosen or known

    def tile(longest_query: int) -> Tile:
        return latent_tile(num_heads, longest_query, q.element_size(), chooses=chosen is not None)

    for launch in launches(
        num_rows, num_sequences, layout.longest_query, tile,
        lambda tile: ceil_div(num_heads, tile.heads),
        lambda _: longest,
        parts_singles=True,
    ):  # fmt: skip
        cut = launch.tile
        parts, lse = launch.parts_of(out)
        latent_kernel[launch.count, ceil_div(num_heads, cut.heads), launch.splits](
            q, latents, parts, lse, layout.query_starts, layout.context_lens, layout.block_tables,
            chosen, num_sequences, layout.block_tables.stride(0), *q.stride()[:2],
            latents.stride(1), scale, num_heads, cut.heads, dim, value_dim, padded(value_dim),
            padded(dim - value_dim), num_chosen, cut.block_m, cut.block_q, cut.block_n,
            layout.block_size, launch.splits, launch.singles, INTERPRETS,
            num_warps=cut.num_warps, num_stages=cut.num_stages,
        )  # fmt: skip
        launch.join(parts, lse, out, None, layout)
    return out


KERNELS = {"latent_attention": latent_attention}
