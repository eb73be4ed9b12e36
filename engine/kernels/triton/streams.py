"""Several residual streams beside each other, and one row of a sequence's many."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.reference_streams import MIN_MEAN_SQUARE
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.elementwise import rows_of
from engine.kernels.triton.norms import tile

BLOCK = 512
POOLED_ROWS = 8


@triton.jit
def _match_rms(
    x,
    target,
    out,
    target_stride,
    LEAST: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One vector."""
    vector = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < N
    wide = tl.load(x + vector * N + column, inside, 0).to(tl.float32)
    wanted = tl.load(target + vector // K * target_stride + column, inside, 0).to(tl.float32)
    own = tl.maximum(tl.sum(wide * wide) / N, LEAST)
    factor = tl.sqrt(tl.sum(wanted * wanted) / N / own)
    tl.store(out + vector * N + column, (wide * factor).to(out.dtype.element_ty), inside)


@triton.jit
def _mix(
    streams,
    x,
    coefficients,
    out,
    x_stride,
    OP: tl.constexpr,
    K: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """All K streams of some columns of one row. Coefficients are rounded as the streams are stored."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < N
    begin = streams + row * (K * N) + column
    into = out + row * (K * N) + column
    kind = out.dtype.element_ty
    stored = streams.dtype.element_ty
    if OP != "mix":
        other = tl.load(x + row * x_stride + column, inside, 0).to(tl.float32)
    if OP == "correct":
        other -= tl.load(begin, inside, 0).to(tl.float32)
    for j in tl.static_range(K):
        value = tl.load(begin + j * N, inside, 0).to(tl.float32)
        if OP == "mix":
            for i in tl.static_range(K):
                factor = tl.load(coefficients + row * (K * K) + j * K + i).to(stored).to(tl.float32)
                value += factor * tl.load(begin + i * N, inside, 0).to(tl.float32)
        elif OP == "correct":
            factor = tl.load(coefficients + row * K + j).to(stored).to(tl.float32)
            value += (1 + factor) * other
        elif j > 0:
            value += other
        tl.store(into + j * N, value.to(kind), inside)


@triton.jit
def _pool_means(x, starts, out, stride, N: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Some columns of one sequence; a sequence without rows gives zeros."""
    sequence = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first, last = tl.load(starts + sequence), tl.load(starts + sequence + 1)
    sums = tl.zeros((BLOCK,), tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = (row < last)[:, None] & (column < N)[None]
        tiles = tl.load(x + row[:, None] * stride + column[None], inside, 0)
        sums += tl.sum(tiles.to(tl.float32), axis=0)
    count = tl.maximum(last - first, 1).to(tl.float32)
    tl.store(out + sequence * N + column, sums / count, column < N)


def match_rms(x: Tensor, target: Tensor) -> Tensor:
    num_rows, num_streams, columns = x.shape
    out = torch.empty(x.shape, dtype=target.dtype, device=x.device)
    target = rows_of(target)
    config = tile(1, columns)
    _match_rms[(num_rows * num_streams,)](
        x.contiguous(),
        target,
        out,
        target.stride(0),
        LEAST=MIN_MEAN_SQUARE,
        K=num_streams,
        N=columns,
        BLOCK=config["BLOCK"],
        num_warps=config["num_warps"],
    )
    return out


def mix_streams(streams: Tensor, coefficients: Tensor) -> Tensor:
    return _mixed("mix", streams, streams, coefficients, streams.dtype)


def correct_streams(streams: Tensor, x: Tensor, coefficients: Tensor) -> Tensor:
    return _mixed("correct", streams, x, coefficients, torch.result_type(streams, x))


def add_to_later(streams: Tensor, x: Tensor) -> Tensor:
    return _mixed("add", streams, x, x, streams.dtype)


def _mixed(op: str, streams: Tensor, x: Tensor, coefficients: Tensor, dtype: torch.dtype) -> Tensor:
    num_rows, num_streams, columns = streams.shape
    out = torch.empty(streams.shape, dtype=dtype, device=streams.device)
    x = rows_of(x)
    block = min(BLOCK, triton.next_power_of_2(columns))
    _mix[(num_rows, ceil_div(columns, block))](
        streams.contiguous(),
        x,
        coefficients.contiguous(),
        out,
        x.stride(0),
        OP=op,
        K=num_streams,
        N=columns,
        BLOCK=block,
    )
    return out


def pool_rows(x: Tensor, layout: BatchLayout, *, pooling: str) -> Tensor:
    starts = layout.query_starts
    if pooling == "first":
        return x.index_select(0, starts[:-1]).float()
    if pooling == "last":
        return x.index_select(0, starts[1:] - 1).float()
    x = rows_of(x)
    num_sequences, columns = starts.shape[0] - 1, x.shape[1]
    out = torch.empty(num_sequences, columns, dtype=torch.float32, device=x.device)
    block = min(256, triton.next_power_of_2(columns))
    _pool_means[(num_sequences, ceil_div(columns, block))](
        x, starts, out, x.stride(0), N=columns, ROWS=POOLED_ROWS, BLOCK=block
    )
    return out


KERNELS = {
    "match_rms": match_rms,
    "mix_streams": mix_streams,
    "correct_streams": correct_streams,
    "add_to_later": add_to_later,
    "pool_rows": pool_rows,
}
