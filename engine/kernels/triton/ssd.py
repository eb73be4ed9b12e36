"""Mamba-2's scan: row by row where a sequence has few, in chunks through tensor cores where not."""

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
from engine.kernels.triton.sequences import (
    longest_query,
    plan_of,
    power_of_two,
    rows_of,
    rowwise,
    softplus,
)

DIMS = 16
"""Of a head's that a program of `_ssd_kernel` has."""


@triton.jit
def _limited(dt, least, most):
    dt = tl.maximum(dt, least, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(dt, most, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _ssd_kernel(
    x_at,
    dt_at,
    a_at,
    b_at,
    c_at,
    d_at,
    dt_bias_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    x_stride,
    dt_stride,
    b_stride,
    c_stride,
    slot_stride,
    least,
    most,
    HEADS: tl.constexpr,
    PER_GROUP: tl.constexpr,
    DIM: tl.constexpr,
    SIZE: tl.constexpr,
    DIMS: tl.constexpr,
    NUMBERS: tl.constexpr,
    MOST_ROWS: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if (count <= 0) | (count > MOST_ROWS):
        return
    dims = tl.program_id(0) * DIMS + tl.arange(0, DIMS)
    numbers = tl.arange(0, NUMBERS)
    is_dim, is_number = dims < DIM, numbers < SIZE
    places = (head * DIM + dims)[:, None] * SIZE + numbers[None, :]
    is_place = is_dim[:, None] & is_number[None, :]
    state = tl.zeros([DIMS, NUMBERS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)
    a, d, bias = tl.load(a_at + head), tl.load(d_at + head), tl.load(dt_bias_at + head)

    x_at += first * x_stride + head * DIM + dims
    dt_at += first * dt_stride + head
    b_at += first * b_stride + head // PER_GROUP * SIZE + numbers
    c_at += first * c_stride + head // PER_GROUP * SIZE + numbers
    out_at += (first * HEADS + head) * DIM + dims
    x = tl.load(x_at, mask=is_dim, other=0.0)
    dt = tl.load(dt_at)
    b = tl.load(b_at, mask=is_number, other=0.0)
    c = tl.load(c_at, mask=is_number, other=0.0)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_x = tl.load(x_at + following * x_stride, mask=is_dim, other=0.0)
        next_dt = tl.load(dt_at + following * dt_stride)
        next_b = tl.load(b_at + following * b_stride, mask=is_number, other=0.0)
        next_c = tl.load(c_at + following * c_stride, mask=is_number, other=0.0)
        wide = x.to(tl.float32)
        step = _limited(softplus(dt.to(tl.float32) + bias), least, most)
        added = (step * wide)[:, None] * b.to(tl.float32)[None, :]
        state = tl.exp(step * a) * state + added
        y = tl.sum(state * c.to(tl.float32)[None, :], axis=1) + d * wide
        at = out_at + row * HEADS * DIM
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_dim)
        x, dt, b, c = next_x, next_dt, next_b, next_c

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


@triton.jit
def _scores_kernel(
    dt_at,
    a_at,
    b_at,
    c_at,
    dt_bias_at,
    scores_at,
    decays_at,
    query_starts_at,
    dt_stride,
    b_stride,
    c_stride,
    least,
    most,
    HEADS: tl.constexpr,
    PER_GROUP: tl.constexpr,
    SIZE: tl.constexpr,
    NUMBERS: tl.constexpr,
    LEAST_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    start = tl.program_id(0) * CHUNK
    if (count < LEAST_ROWS) | (start >= count):
        return
    rows, numbers = start + tl.arange(0, CHUNK), tl.arange(0, NUMBERS)
    is_row = rows < count
    is_place = is_row[:, None] & (numbers < SIZE)[None, :]
    group = head // PER_GROUP * SIZE
    b_at += first * b_stride + group + numbers
    c_at += first * c_stride + group + numbers
    b = tl.load(b_at[None, :] + rows[:, None] * b_stride, mask=is_place, other=0.0)
    c = tl.load(c_at[None, :] + rows[:, None] * c_stride, mask=is_place, other=0.0)
    dt = tl.load(dt_at + (first + rows) * dt_stride + head, mask=is_row, other=0.0)
    step = _limited(softplus(dt.to(tl.float32) + tl.load(dt_bias_at + head)), least, most)
    step = tl.where(is_row, step, 0.0)
    log_decay = step * tl.load(a_at + head)
    scores_at += (first * HEADS + head) * CHUNK
    decays_at += (first * HEADS + head) * 2
    scores_of_chunk(c, b, step, log_decay, start, count, scores_at, decays_at, HEADS, CHUNK)


def ssd_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    state: Tensor,
    layout: BatchLayout,
    *,
    dt_limits: tuple[float, float],
) -> Tensor:
    x, dt, b, c = rowwise(x), rowwise(dt), rowwise(b), rowwise(c)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    plan = plan_of(x, layout, has_chunks=has_chunks(x))
    if plan.most_rows:
        _, num_heads, dim, size = state.shape
        grid = ceil_div(dim, DIMS), num_heads, len(layout.state_reads)
        _ssd_kernel[grid](
            x,
            dt,
            a,
            b,
            c,
            d,
            dt_bias,
            state,
            out,
            layout.query_starts,
            layout.state_reads,
            layout.state_writes,
            x.stride(0),
            dt.stride(0),
            b.stride(0),
            c.stride(0),
            state.stride(0),
            *dt_limits,
            HEADS=num_heads,
            PER_GROUP=num_heads // b.shape[1],
            DIM=dim,
            SIZE=size,
            DIMS=DIMS,
            NUMBERS=power_of_two(size),
            MOST_ROWS=plan.most_rows,
            num_warps=2,
        )
    if plan.least_rows:
        _chunks(x, dt, a, b, c, d, dt_bias, state, layout, out, plan.least_rows, dt_limits)
    return out


def _chunks(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    state: Tensor,
    layout: BatchLayout,
    out: Tensor,
    least_rows: int,
    dt_limits: tuple[float, float],
) -> None:
    """Of the sequences that have no less than `least_rows`."""
    _, num_heads, dim, size = state.shape
    scores, decays = new_scores(x, num_heads)
    num_chunks = ceil_div(longest_query(x, layout), CHUNK)
    _scores_kernel[num_chunks, num_heads, len(layout.state_reads)](
        dt,
        a,
        b,
        c,
        dt_bias,
        scores,
        decays,
        layout.query_starts,
        dt.stride(0),
        b.stride(0),
        c.stride(0),
        *dt_limits,
        HEADS=num_heads,
        PER_GROUP=num_heads // b.shape[1],
        SIZE=size,
        NUMBERS=power_of_two(size, 16),
        LEAST_ROWS=least_rows,
        CHUNK=CHUNK,
        num_warps=8,
    )
    carry(
        Rows(c, c.stride(0), size),
        Rows(b, b.stride(0), size),
        Rows(x, x.stride(0), dim),
        d,
        scores,
        decays,
        state,
        out,
        layout,
        least_rows=least_rows,
        per_group=num_heads // b.shape[1],
        size=size,
        dim=dim,
        keys_first=False,
    )


KERNELS = {"ssd_scan": ssd_scan}
