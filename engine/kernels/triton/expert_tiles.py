"""Products of experts' matrices in tiles of rows that go to one expert each, on tensor cores."""

import triton
from triton import language as tl

from engine.kernels.triton.base import dot
from engine.kernels.triton.decode import decode, is_dense
from engine.kernels.triton.expert_pairs import joined


@triton.jit
def tile_of(
    rows, start, K, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr, DTYPE: tl.constexpr
):  # fmt: skip
    """(R, BLOCK_K) of `decode` in DTYPE; dense as it is read."""
    if is_dense(FORMAT):
        columns = start + tl.arange(0, BLOCK_K)
        if WHOLE:
            return tl.load(rows[:, None] + columns[None, :])
        return tl.load(rows[:, None] + columns[None, :], columns[None, :] < K, other=0)
    else:  # noqa: RET505
        return decode(rows, start, K, FORMAT, BLOCK_K, WHOLE).to(DTYPE)


@triton.jit(do_not_specialize=["num_pairs"])
def tile_kernel(
    x_at,
    pairs_at,
    experts_at,
    out_at,
    weight_at,
    up_at,
    bias_at,
    up_bias_at,
    alpha,
    limit,
    num_pairs,
    N: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    UP_STRIDE: tl.constexpr,
    X_SHARE: tl.constexpr,
    FORMAT: tl.constexpr,
    UP_FORMAT: tl.constexpr,
    ACT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    DTYPE: tl.constexpr,
    UPCAST: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """A tile of an `ExpertOrder` by BLOCK_N columns; sums stand transposed, few rows being usual."""
    WHOLE: tl.constexpr = K % BLOCK_K == 0
    N_TILES: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    tile = tl.program_id(0) // N_TILES
    expert = tl.load(experts_at + tile)
    if expert < 0:
        return
    pairs = tl.load(pairs_at + tile * BLOCK_M + tl.arange(0, BLOCK_M))
    x_rows = tl.minimum(pairs, num_pairs - 1) // X_SHARE
    columns = tl.program_id(0) % N_TILES * BLOCK_N + tl.arange(0, BLOCK_N)
    rows = expert.to(tl.int64) * N + tl.minimum(columns, N - 1)
    weight_rows, up_rows = weight_at + rows * STRIDE, up_at + rows * UP_STRIDE
    sums = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    up_sums = tl.zeros([BLOCK_N, BLOCK_M], tl.float32)
    for start in range(0, K, BLOCK_K):
        ks = start + tl.arange(0, BLOCK_K)
        places = x_rows.to(tl.int64)[None, :] * K + ks[:, None]
        if WHOLE:
            x = tl.load(x_at + places)
        else:
            x = tl.load(x_at + places, mask=ks[:, None] < K, other=0.0)
        sums = dot(tile_of(weight_rows, start, K, FORMAT, BLOCK_K, WHOLE, DTYPE), x, sums, UPCAST)
        if ACT != "":
            up = tile_of(up_rows, start, K, UP_FORMAT, BLOCK_K, WHOLE, DTYPE)
            up_sums = dot(up, x, up_sums, UPCAST)
    if HAS_BIAS:
        sums += tl.load(bias_at + rows).to(tl.float32)[:, None]
    if ACT != "":
        if HAS_BIAS:
            up_sums += tl.load(up_bias_at + rows).to(tl.float32)[:, None]
        sums = joined(sums, up_sums, ACT, alpha, limit)
    places = pairs.to(tl.int64)[None, :] * N + columns[:, None]
    is_real = (pairs < num_pairs)[None, :] & (columns < N)[:, None]
    tl.store(out_at + places, sums.to(DTYPE), mask=is_real)
