"""Products of experts' matrices row by row: each program reads a few rows of a matrix, once."""

import triton
from triton import language as tl

from engine.kernels.triton.gemv import activated, product


@triton.jit
def joined(gate, up, ACT: tl.constexpr, alpha, limit):
    """Of an op of (gate, up), computed in float32. alpha, limit: of clamped_swiglu."""
    if ACT == "clamped_swiglu":
        # A comparison lets a NaN through, where a minimum would not.
        gate = tl.where(gate > limit, limit, gate)
        up = tl.where(up > limit, limit, tl.where(up < -limit, -limit, up))
        result = (up + 1.0) * gate * tl.sigmoid(alpha * gate)
    else:
        tl.static_assert(ACT == "silu_mul" or ACT == "gelu_tanh_mul")  # noqa: PLR1714  # no sets here
        result = activated(gate, ACT) * up
    return result


@triton.jit
def expert_product(
    x, weight, rows, N, K, STRIDE, FORMAT: tl.constexpr, BLOCK_N: tl.constexpr, AT_ONCE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):  # fmt: skip
    """(BLOCK_N,) float32: x (K,) by rows of an expert's matrix (N, K) that begins at `weight`."""
    WHOLE: tl.constexpr = K % BLOCK_K == 0
    sums = product(x, weight, rows, N, 1, K, 0, STRIDE, FORMAT, 1, BLOCK_N, AT_ONCE, BLOCK_K, WHOLE)
    return tl.reshape(sums, (BLOCK_N,))


@triton.jit
def pair_kernel(
    x_at,
    chosen_at,
    out_at,
    weight_at,
    up_at,
    bias_at,
    up_bias_at,
    alpha,
    limit,
    N: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    UP_STRIDE: tl.constexpr,
    X_SHARE: tl.constexpr,
    FORMAT: tl.constexpr,
    UP_FORMAT: tl.constexpr,
    ACT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    AT_ONCE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One pair of row and expert by BLOCK_N of its columns. X_SHARE: pairs that read one row of x."""
    pair = tl.program_id(1).to(tl.int64)
    first = tl.load(chosen_at + pair) * N
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    places = first + tl.minimum(columns, N - 1)
    x_at += pair // X_SHARE * K
    result = expert_product(
        x_at, weight_at + first * STRIDE, columns, N, K, STRIDE, FORMAT, BLOCK_N, AT_ONCE, BLOCK_K
    )
    if HAS_BIAS:
        result += tl.load(bias_at + places).to(tl.float32)
    if ACT != "":
        up = expert_product(
            x_at, up_at + first * UP_STRIDE, columns, N, K, UP_STRIDE, UP_FORMAT, BLOCK_N, AT_ONCE,
            BLOCK_K,
        )  # fmt: skip
        if HAS_BIAS:
            up += tl.load(up_bias_at + places).to(tl.float32)
        result = joined(result, up, ACT, alpha, limit)
    tl.store(out_at + pair * N + columns, result.to(out_at.dtype.element_ty), mask=columns < N)


@triton.jit
def combined_pairs_kernel(
    h_at,
    chosen_at,
    shares_at,
    out_at,
    weight_at,
    bias_at,
    N: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    TOP_K: tl.constexpr,
    FORMAT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    UNROLL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    AT_ONCE: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """All of a row's experts, in their order, by BLOCK_N of its columns."""
    row = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros([BLOCK_N], tl.float32)
    for rank in tl.range(TOP_K, loop_unroll_factor=UNROLL):
        pair = row * TOP_K + rank
        first = tl.load(chosen_at + pair) * N
        weight = weight_at + first * STRIDE
        values = expert_product(
            h_at + pair * K, weight, columns, N, K, STRIDE, FORMAT, BLOCK_N, AT_ONCE, BLOCK_K
        )
        if HAS_BIAS:
            values += tl.load(bias_at + first + tl.minimum(columns, N - 1)).to(tl.float32)
        total += values * tl.load(shares_at + pair)
    tl.store(out_at + row * N + columns, total, mask=columns < N)


@triton.jit
def combine_kernel(
    outputs_at, shares_at, out_at, N: tl.constexpr, TOP_K: tl.constexpr, BLOCK_N: tl.constexpr
):
    """A row's experts in their order, by BLOCK_N columns."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_real = columns < N
    total = tl.zeros([BLOCK_N], tl.float32)
    for rank in tl.static_range(TOP_K):
        pair = row * TOP_K + rank
        outputs = tl.load(outputs_at + pair * N + columns, mask=is_real, other=0.0)
        total += outputs.to(tl.float32) * tl.load(shares_at + pair)
    tl.store(out_at + row * N + columns, total, mask=is_real)
