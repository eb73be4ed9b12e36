"""Products of each head's values by a matrix of its own."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.registry import Kernel
from engine.kernels.triton.base import INTERPRETS, ceil_div, dot
from engine.kernels.triton.expert_tiles import tile_of
from engine.kernels.triton.experts import DTYPES, FORMATS
from engine.kernels.weight import Weight


@triton.jit(do_not_specialize=["num_rows"])
def _head_linear_kernel(
    x_at,
    weight_at,
    out_at,
    num_rows,
    x_row_stride,
    x_head_stride,
    HEADS: tl.constexpr,
    ROWS_PER_HEAD: tl.constexpr,
    FIRST: tl.constexpr,
    COUNT: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    FORMAT: tl.constexpr,
    TRANSPOSED: tl.constexpr,
    DTYPE: tl.constexpr,
    UPCAST: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One head's BLOCK_M rows by BLOCK_N of its result's columns. COUNT: rows of its matrix."""
    head = tl.program_id(1)
    rows = tl.program_id(2) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_row = rows < num_rows
    x_at += tl.minimum(rows, num_rows - 1).to(tl.int64) * x_row_stride + head * x_head_stride
    weight_at += (head.to(tl.int64) * ROWS_PER_HEAD + FIRST) * STRIDE
    SIZE: tl.constexpr = K if TRANSPOSED else COUNT
    WHOLE: tl.constexpr = K % (BLOCK_N if TRANSPOSED else BLOCK_K) == 0
    sums = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    if TRANSPOSED:
        for start in range(0, COUNT, BLOCK_K):
            own = start + tl.arange(0, BLOCK_K)
            x = tl.load(x_at[:, None] + own[None, :], mask=(own < COUNT)[None, :], other=0.0)
            stored = weight_at + tl.minimum(own, COUNT - 1).to(tl.int64) * STRIDE
            first = tl.program_id(0) * BLOCK_N
            matrix = tile_of(stored, first, K, FORMAT, BLOCK_N, WHOLE, DTYPE)
            sums = dot(x.to(DTYPE), matrix, sums, UPCAST)
    else:
        stored = weight_at + tl.minimum(columns, COUNT - 1).to(tl.int64) * STRIDE
        for start in range(0, K, BLOCK_K):
            ks = start + tl.arange(0, BLOCK_K)
            x = tl.load(x_at[:, None] + ks[None, :], mask=(ks < K)[None, :], other=0.0)
            matrix = tile_of(stored, start, K, FORMAT, BLOCK_K, WHOLE, DTYPE)
            sums = dot(x.to(DTYPE), tl.trans(matrix), sums, UPCAST)
    places = (rows.to(tl.int64) * HEADS + head)[:, None] * SIZE + columns[None, :]
    tl.store(out_at + places, sums.to(DTYPE), mask=is_row[:, None] & (columns < SIZE)[None, :])


def head_linear(
    x: Tensor, weight: Weight, first: int, last: int, *, transposed: bool = False
) -> Tensor:
    num_rows, num_heads, _ = x.shape
    size = weight.shape[1] if transposed else last - first
    out = torch.empty(num_rows, num_heads, size, dtype=weight.dtype, device=x.device)
    if not num_rows:
        return out
    if x.stride(2) != 1:
        x = x.contiguous()
    blocks = head_blocks(num_rows, weight.shape[1] if not transposed else last - first)
    grid = ceil_div(size, blocks["BLOCK_N"]), num_heads, ceil_div(num_rows, blocks["BLOCK_M"])
    _head_linear_kernel[grid](
        x,
        weight.data,
        out,
        num_rows,
        x.stride(0),
        x.stride(1),
        HEADS=num_heads,
        ROWS_PER_HEAD=weight.shape[0] // num_heads,
        FIRST=first,
        COUNT=last - first,
        K=weight.shape[1],
        STRIDE=weight.data.stride(0),
        FORMAT=weight.format,
        TRANSPOSED=transposed,
        DTYPE=DTYPES[weight.dtype],
        UPCAST=INTERPRETS or weight.dtype == torch.float32,
        **blocks,
    )
    return out


def head_blocks(num_rows: int, summed: int) -> dict[str, int]:
    """What a program takes. summed: how many products a value is the sum of."""
    return {
        "BLOCK_M": min(64, max(16, triton.next_power_of_2(num_rows))),
        "BLOCK_N": 64,
        "BLOCK_K": min(64, max(32, triton.next_power_of_2(summed))),
        "num_warps": 4,
    }


WEIGHT_KERNELS: dict[tuple[str, str], Kernel] = {
    ("head_linear", weight_format): head_linear for weight_format in FORMATS
}
