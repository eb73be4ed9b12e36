"""Lightning attention: row by row where a sequence has few, in chunks where not."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.chunks import (
    CHUNK,
    Rows,
    carry,
    has_chunks,
    new_scores,
    scores_of_chunk,
)
from engine.kernels.triton.sequences import longest_query, plan_of, power_of_two, rows_of, rowwise

COLUMNS = 16
"""Of a head's state that a program of `_linear_kernel` has."""


@triton.jit
def _linear_kernel(
    qkv_at,
    slopes_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    qkv_stride,
    slot_stride,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
    MOST_ROWS: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if (count <= 0) | (count > MOST_ROWS):
        return
    columns, keys = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, KEYS)
    is_column, is_key = columns < DIM, keys < DIM
    places = (head * DIM + keys)[:, None] * DIM + columns[None, :]
    is_place = is_key[:, None] & is_column[None, :]
    state = tl.zeros([KEYS, COLUMNS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)
    kept = tl.exp(-tl.load(slopes_at + head))

    q_at = qkv_at + first * qkv_stride + head * 3 * DIM + keys
    k_at = q_at + DIM
    v_at = qkv_at + first * qkv_stride + (head * 3 + 2) * DIM + columns
    out_at += (first * HEADS + head) * DIM + columns
    q = tl.load(q_at, mask=is_key, other=0.0)
    k = tl.load(k_at, mask=is_key, other=0.0)
    v = tl.load(v_at, mask=is_column, other=0.0)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_q = tl.load(q_at + following * qkv_stride, mask=is_key, other=0.0)
        next_k = tl.load(k_at + following * qkv_stride, mask=is_key, other=0.0)
        next_v = tl.load(v_at + following * qkv_stride, mask=is_column, other=0.0)
        state = kept * state + k.to(tl.float32)[:, None] * v.to(tl.float32)[None, :]
        y = tl.sum(q.to(tl.float32)[:, None] * state, axis=0)
        at = out_at + row * HEADS * DIM
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_column)
        q, k, v = next_q, next_k, next_v

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


@triton.jit
def _scores_kernel(
    qkv_at,
    slopes_at,
    scores_at,
    decays_at,
    query_starts_at,
    qkv_stride,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    KEYS: tl.constexpr,
    LEAST_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    start = tl.program_id(0) * CHUNK
    if (count < LEAST_ROWS) | (start >= count):
        return
    rows, keys = start + tl.arange(0, CHUNK), tl.arange(0, KEYS)
    is_row = rows < count
    is_place = is_row[:, None] & (keys < DIM)[None, :]
    q_at = qkv_at + first * qkv_stride + head * 3 * DIM + keys
    k_at = q_at + DIM
    q = tl.load(q_at[None, :] + rows[:, None] * qkv_stride, mask=is_place, other=0.0)
    k = tl.load(k_at[None, :] + rows[:, None] * qkv_stride, mask=is_place, other=0.0)
    share = tl.where(is_row, 1.0, 0.0)
    log_decay = -tl.load(slopes_at + head) * share
    scores_at += (first * HEADS + head) * CHUNK
    decays_at += (first * HEADS + head) * 2
    scores_of_chunk(q, k, share, log_decay, start, count, scores_at, decays_at, HEADS, CHUNK)


def linear_attention(qkv: Tensor, slopes: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    qkv = rowwise(qkv)
    num_rows, num_heads, width = qkv.shape
    dim, num_sequences = width // 3, len(layout.state_reads)
    out = torch.empty(num_rows, num_heads, dim, dtype=qkv.dtype, device=qkv.device)
    plan = plan_of(qkv, layout, has_chunks=has_chunks(qkv))
    if plan.most_rows:
        _linear_kernel[ceil_div(dim, COLUMNS), num_heads, num_sequences](
            qkv,
            slopes,
            state,
            out,
            layout.query_starts,
            layout.state_reads,
            layout.state_writes,
            qkv.stride(0),
            state.stride(0),
            HEADS=num_heads,
            DIM=dim,
            KEYS=power_of_two(dim),
            COLUMNS=COLUMNS,
            MOST_ROWS=plan.most_rows,
            num_warps=2,
        )
    if plan.least_rows:
        scores, decays = new_scores(qkv, num_heads)
        num_chunks = ceil_div(longest_query(qkv, layout), CHUNK)
        _scores_kernel[num_chunks, num_heads, num_sequences](
            qkv,
            slopes,
            scores,
            decays,
            layout.query_starts,
            qkv.stride(0),
            HEADS=num_heads,
            DIM=dim,
            KEYS=power_of_two(dim, 16),
            LEAST_ROWS=plan.least_rows,
            CHUNK=CHUNK,
            num_warps=8,
        )
        q, k, v = (Rows(part, qkv.stride(0), width) for part in qkv.split(dim, dim=-1))
        carry(
            q,
            k,
            v,
            None,
            scores,
            decays,
            state,
            out,
            layout,
            least_rows=plan.least_rows,
            per_group=1,
            size=dim,
            dim=dim,
            keys_first=True,
        )
    return out


KERNELS = {"linear_attention": linear_attention}
