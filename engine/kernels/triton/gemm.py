"""Products of many rows with a stored matrix: values are decoded a tile at a time, for tensor cores.

The matrix's rows are the first axis of what is multiplied: a GPU's matrix instructions take 64 of those at
a time but need not have more than 8 or 16 of x. Where that makes too few programs to keep a GPU's memory
busy, each takes a part of the columns, and the parts are added up by a kernel of their own.
"""

import triton
from triton import language as tl

from engine.kernels.triton.base import dot
from engine.kernels.triton.decode import decode
from engine.kernels.triton.gemv import activated


@triton.jit(do_not_specialize=["M"])
def gemm_kernel(
    x, w, w1, b, b1, addend, o, M, n, K, x_stride, row_stride, FORMAT: tl.constexpr,
    ACT: tl.constexpr, EXACT: tl.constexpr, DTYPE: tl.constexpr, PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """Stores o (M, n): x (M, K) by the rows of w (n, K), plus b (n,), plus addend (M, n).

    What is not there is None. ACT: "", or what is made of w's product, a gate, and w1's. EXACT: float32 of both
    are multiplied, in three parts each; else both in DTYPE. PARTS: if more than 1, o takes what each part of the
    columns gives, (PARTS, M, n) float32, and with ACT as much of w1 behind it; the rest is `join_kernel`'s.
    """
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    token = tl.program_id(1) * BLOCK_M + tl.arange(0, BLOCK_M)
    rows = tl.minimum(row, n - 1).to(tl.int64) * row_stride
    tokens = x + tl.minimum(token, M - 1).to(tl.int64) * x_stride
    is_out = (token < M)[:, None] & (row < n)[None, :]
    places = token.to(tl.int64)[:, None] * n + row[None, :]
    if PARTS == 1:
        begin, end = 0, K
    else:
        part = tl.program_id(2)
        each = tl.cdiv(tl.cdiv(K, BLOCK_K), PARTS) * BLOCK_K
        begin, end = part * each, tl.minimum((part + 1) * each, K)
        places += part.to(tl.int64) * M * n
    total = tl.zeros((BLOCK_N, BLOCK_M), tl.float32)
    ups = total
    for start in range(begin, end, BLOCK_K):
        inputs = tl.trans(_tile(tokens, start, K, "dense", EXACT, DTYPE, BLOCK_K, WHOLE))
        values = _tile(w + rows, start, K, FORMAT, EXACT, DTYPE, BLOCK_K, WHOLE)
        total = _dot(values, inputs, total, EXACT, UPCAST)
        if ACT != "":
            values = _tile(w1 + rows, start, K, FORMAT, EXACT, DTYPE, BLOCK_K, WHOLE)
            ups = _dot(values, inputs, ups, EXACT, UPCAST)
    if PARTS == 1:
        result = _finished(tl.trans(total), tl.trans(ups), row, n, b, b1, ACT)
        if addend is not None:
            result += tl.load(addend + places, is_out, other=0).to(tl.float32)
        tl.store(o + places, result.to(o.dtype.element_ty), is_out)
    else:
        tl.store(o + places, tl.trans(total), is_out)
        if ACT != "":
            tl.store(o + (places + PARTS * M.to(tl.int64) * n), tl.trans(ups), is_out)


@triton.jit(do_not_specialize=["M"])
def join_kernel(
    parts, b, b1, addend, o, M, n, ACT: tl.constexpr, PARTS: tl.constexpr, BLOCK_N: tl.constexpr
):
    """Stores o (M, n), of what `gemm_kernel` gave of each part."""
    token = tl.program_id(1)
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_row = row < n
    places = token.to(tl.int64) * n + row
    size = M.to(tl.int64) * n
    total = tl.zeros((BLOCK_N,), tl.float32)
    ups = total
    for part in tl.static_range(PARTS):
        total += tl.load(parts + part * size + places, is_row, other=0)
        if ACT != "":
            ups += tl.load(parts + (PARTS + part) * size + places, is_row, other=0)
    result = _finished(total[None, :], ups[None, :], row, n, b, b1, ACT)
    if addend is not None:
        result += tl.load(addend + places, is_row, other=0).to(tl.float32)[None, :]
    tl.store(o + places[None, :], result.to(o.dtype.element_ty), is_row[None, :])


@triton.jit
def _finished(total, ups, row, n, b, b1, ACT: tl.constexpr):
    """The total (T, rows) with its bias; activated, and times ups with theirs."""
    if b is not None:
        total += tl.load(b + row, row < n, other=0).to(tl.float32)[None, :]
    if ACT != "":
        if b1 is not None:
            ups += tl.load(b1 + row, row < n, other=0).to(tl.float32)[None, :]
        total = activated(total, ACT) * ups
    return total


@triton.jit
def _tile(
    rows, start, K, FORMAT: tl.constexpr, EXACT: tl.constexpr, DTYPE: tl.constexpr,
    BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    values = decode(rows, start, K, FORMAT, BLOCK_K, WHOLE)
    if not EXACT:
        values = values.to(DTYPE)
    return values


@triton.jit
def _dot(values, inputs, total, EXACT: tl.constexpr, UPCAST: tl.constexpr):
    if EXACT and not UPCAST:
        total = tl.dot(values, inputs, total, input_precision="tf32x3")
    else:
        total = dot(values, inputs, total, UPCAST)
    return total


@triton.jit
def unpack_kernel(
    w, o, n, K, row_stride, FORMAT: tl.constexpr, R: tl.constexpr, BLOCK_K: tl.constexpr,
    WHOLE: tl.constexpr,
):  # fmt: skip
    """Stores o (n, K), the values of w."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    start = tl.program_id(1) * BLOCK_K
    rows = w + tl.minimum(row, n - 1).to(tl.int64) * row_stride
    values = decode(rows, start, K, FORMAT, BLOCK_K, WHOLE)
    column = start + tl.arange(0, BLOCK_K)
    is_out = (row < n)[:, None] & (column < K)[None, :]
    places = row.to(tl.int64)[:, None] * K + column[None, :]
    tl.store(o + places, values.to(o.dtype.element_ty), is_out)


@triton.jit
def embedding_kernel(
    ids, w, o, K, row_stride, FORMAT: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr
):
    """Stores o (T, K), the rows of w that ids (T,) name."""
    token = tl.program_id(0)
    start = tl.program_id(1) * BLOCK_K
    rows = w + tl.load(ids + token + tl.zeros((1,), tl.int32)).to(tl.int64) * row_stride
    values = tl.reshape(decode(rows, start, K, FORMAT, BLOCK_K, WHOLE), (BLOCK_K,))
    column = start + tl.arange(0, BLOCK_K)
    places = token.to(tl.int64) * K + column
    tl.store(o + places, values.to(o.dtype.element_ty), column < K)
