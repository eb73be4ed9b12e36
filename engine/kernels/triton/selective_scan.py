"""Mamba's scan: a program has some channels of one sequence, and takes row after row.

Each number of a state has a decay of its own, so that nothing here would be a matrix product.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.sequences import power_of_two, rows_of, rowwise, softplus

CHANNELS = 32


@triton.jit
def _selective_kernel(
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
    num_channels,
    x_stride,
    dt_stride,
    b_stride,
    c_stride,
    slot_stride,
    SIZE: tl.constexpr,
    NUMBERS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    sequence = tl.program_id(1)
    first, count = rows_of(query_starts_at, sequence)
    if count <= 0:
        return
    channels = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    numbers = tl.arange(0, NUMBERS)
    is_channel, is_number = channels < num_channels, numbers < SIZE
    places = channels[:, None] * SIZE + numbers[None, :]
    is_place = is_channel[:, None] & is_number[None, :]
    state = tl.zeros([CHANNELS, NUMBERS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)
    a = tl.load(a_at + places, mask=is_place, other=0.0)
    d = tl.load(d_at + channels, mask=is_channel, other=0.0)
    bias = tl.load(dt_bias_at + channels, mask=is_channel, other=0.0)

    x_at += first * x_stride + channels
    dt_at += first * dt_stride + channels
    b_at += first * b_stride + numbers
    c_at += first * c_stride + numbers
    out_at += first * num_channels + channels
    x = tl.load(x_at, mask=is_channel, other=0.0)
    dt = tl.load(dt_at, mask=is_channel, other=0.0)
    b = tl.load(b_at, mask=is_number, other=0.0)
    c = tl.load(c_at, mask=is_number, other=0.0)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_x = tl.load(x_at + following * x_stride, mask=is_channel, other=0.0)
        next_dt = tl.load(dt_at + following * dt_stride, mask=is_channel, other=0.0)
        next_b = tl.load(b_at + following * b_stride, mask=is_number, other=0.0)
        next_c = tl.load(c_at + following * c_stride, mask=is_number, other=0.0)
        wide = x.to(tl.float32)
        steps = softplus(dt.to(tl.float32) + bias)
        added = (steps * wide)[:, None] * b.to(tl.float32)[None, :]
        state = tl.exp(steps[:, None] * a) * state + added
        y = tl.sum(state * c.to(tl.float32)[None, :], axis=1) + d * wide
        at = out_at + row * num_channels
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_channel)
        x, dt, b, c = next_x, next_dt, next_b, next_c

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


def selective_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    d: Tensor,
    dt_bias: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    x, dt, b, c = rowwise(x), rowwise(dt), rowwise(b), rowwise(c)
    num_channels, size = a.shape
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    grid = ceil_div(num_channels, CHANNELS), len(layout.state_reads)
    _selective_kernel[grid](
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
        num_channels,
        x.stride(0),
        dt.stride(0),
        b.stride(0),
        c.stride(0),
        state.stride(0),
        SIZE=size,
        NUMBERS=power_of_two(size),
        CHANNELS=CHANNELS,
        num_warps=1,
    )
    return out


KERNELS = {"selective_scan": selective_scan}
