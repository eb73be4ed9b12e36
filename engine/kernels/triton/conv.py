"""The causal convolution and the shift of recurrent layers.

A program has some channels of some rows of one sequence; that of the first rows has the state, too.
Later rows see what came before them in x itself, so no program waits for another.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.sequences import longest_query, power_of_two, rows_of, rowwise

COLUMNS = 512
"""That a program of `_shift_kernel` has."""


@triton.jit
def _conv_kernel(
    x_at,
    weight_at,
    bias_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    channels,
    x_stride,
    slot_stride,
    TAPS: tl.constexpr,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HISTORY: tl.constexpr,
    HAS_BIAS: tl.constexpr,
):
    sequence = tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    start = tl.program_id(1) * ROWS
    if start >= count:
        return
    KEPT: tl.constexpr = TAPS - 1
    columns = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = columns < channels
    rows = start + tl.arange(0, ROWS)
    read = tl.load(reads_at + sequence)
    x_at += first * x_stride
    old_at = state_at + read * slot_stride
    total = tl.zeros([ROWS, CHANNELS], tl.float32)
    for tap in tl.static_range(TAPS):
        weight = tl.load(weight_at + columns * TAPS + tap, mask=is_channel, other=0.0)
        places = rows - KEPT + tap
        is_row = ((places >= 0) & (rows < count))[:, None] & is_channel[None, :]
        at = x_at + places[:, None].to(tl.int64) * x_stride + columns[None, :]
        inputs = tl.load(at, mask=is_row, other=0.0).to(tl.float32)
        if (start < KEPT) & (read >= 0):
            is_old = ((places < 0) & (rows < count))[:, None] & is_channel[None, :]
            before_at = old_at + columns[None, :] * KEPT + (places[:, None] + KEPT)
            inputs = tl.where(is_old, tl.load(before_at, mask=is_old, other=0.0), inputs)
        total += inputs * weight.to(tl.float32)[None, :]
    if HAS_BIAS:
        bias = tl.load(bias_at + columns, mask=is_channel, other=0.0)
        total += bias.to(tl.float32)[None, :]
    at = out_at + (first + rows)[:, None] * channels + columns[None, :]
    is_out = (rows < count)[:, None] & is_channel[None, :]
    tl.store(at, total.to(out_at.dtype.element_ty), mask=is_out)

    write = tl.load(writes_at + sequence)
    if (start > 0) | (write < 0):
        return
    kept = tl.arange(0, HISTORY)
    places = count - KEPT + kept
    is_kept = (kept < KEPT)[:, None] & is_channel[None, :]
    is_row = (places >= 0)[:, None] & is_kept
    at = x_at + places[:, None].to(tl.int64) * x_stride + columns[None, :]
    left = tl.load(at, mask=is_row, other=0.0).to(tl.float32)
    if (count < KEPT) & (read >= 0):
        is_old = (places < 0)[:, None] & is_kept
        before_at = old_at + columns[None, :] * KEPT + (places[:, None] + KEPT)
        left = tl.where(is_old, tl.load(before_at, mask=is_old, other=0.0), left)
    tl.debug_barrier()  # values move within a slot: all threads have read theirs
    tl.store(
        state_at + write * slot_stride + columns[None, :] * KEPT + kept[:, None],
        left,
        mask=is_kept,
    )


def channels_of(num_rows: int) -> int:
    """How many a program has whose tile has so many rows."""
    return 128 if num_rows > 1 else 256


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, layout: BatchLayout
) -> Tensor:
    x, (channels, taps) = rowwise(x), weight.shape
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    longest = longest_query(x, layout)
    # The history is read by the program of the first rows alone.
    num_rows = 1 if longest == 1 else power_of_two(taps - 1, 16)
    num_channels = channels_of(num_rows)
    grid = ceil_div(channels, num_channels), ceil_div(longest, num_rows), len(layout.state_reads)
    _conv_kernel[grid](
        x,
        weight,
        bias,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        channels,
        x.stride(0),
        state.stride(0),
        TAPS=taps,
        ROWS=num_rows,
        CHANNELS=num_channels,
        HISTORY=power_of_two(taps - 1),
        HAS_BIAS=bias is not None,
        num_warps=4,
    )
    return out


@triton.jit
def _shift_kernel(
    x_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    width,
    x_stride,
    slot_stride,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    sequence = tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    start = tl.program_id(1) * ROWS
    if start >= count:
        return
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = columns < width
    x_at += first * x_stride
    out_at += first * width
    for row in range(tl.maximum(start, 1), tl.minimum(start + ROWS, count)):
        before = tl.load(x_at + (row - 1) * x_stride + columns, mask=is_column, other=0.0)
        tl.store(out_at + row * width + columns, before, mask=is_column)
    if start > 0:
        return

    read = tl.load(reads_at + sequence)
    write = tl.load(writes_at + sequence)
    before = tl.zeros([COLUMNS], tl.float32)
    if read >= 0:
        at = state_at + read * slot_stride + columns
        before = tl.load(at, mask=is_column, other=0.0)
    tl.store(out_at + columns, before.to(out_at.dtype.element_ty), mask=is_column)
    if write >= 0:
        last = tl.load(x_at + (count - 1) * x_stride + columns, mask=is_column, other=0.0)
        tl.debug_barrier()  # all threads have read what was there
        at = state_at + write * slot_stride + columns
        tl.store(at, last.to(tl.float32), mask=is_column)


def token_shift(x: Tensor, state: Tensor, layout: BatchLayout) -> Tensor:
    x, width = rowwise(x), x.shape[1]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    longest = longest_query(x, layout)
    num_rows = 1 if longest == 1 else 16
    grid = ceil_div(width, COLUMNS), ceil_div(longest, num_rows), len(layout.state_reads)
    _shift_kernel[grid](
        x,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        width,
        x.stride(0),
        state.stride(0),
        ROWS=num_rows,
        COLUMNS=COLUMNS,
    )
    return out


KERNELS = {"causal_conv": causal_conv, "token_shift": token_shift}
