"""Products of a few rows with stored matrices: what decoding waits for, as fast as a matrix is read.

A thread reads the codes of whole runs of 32 values, 16 bytes at a time, of several rows of the matrix, and
keeps its part of x in registers for all of them. Sums of a run are scaled, not its values. Codes are multiplied
as the tiny floats that their bits are, by an x that is as much larger. Only the last sum
passes through shared memory: tensors have their axes in an order in which Triton gives each thread the
same runs of all of them.
"""

import triton
from triton import language as tl

from engine.kernels.triton.decode import (
    decode,
    has_offsets,
    is_dense,
    offsets,
    scales,
    shares,
    tiny_codes,
    tiny_factor,
)


@triton.jit(do_not_specialize=["M"])
def gemv_kernel(
    x, w0, w1, w2, b0, b1, b2, addend, o0, o1, o2, M, n0, n1, n2, K, x_stride, row_stride,
    FORMAT: tl.constexpr, ACT: tl.constexpr, T: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
    BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Stores o (M, n): x (M, K) by the rows of each w (n, K) there is, plus b (n,), plus addend (M, n).

    Without another, w1, w2, their b and o are None; so are all b and the addend that are not there. ACT: "",
    or what is made of w0's product, a gate, and w1's, for o0. T: a power of two, M or more. R: how many rows
    of w a program has, W: how many at once. x_stride, row_stride: between rows, in what x and w are of.
    """
    program = tl.program_id(0)
    w, b, o, n = w0, b0, o0, n0
    if ACT == "" and w1 is not None:
        before = tl.cdiv(n0, R)
        is_next = program >= before
        program = tl.where(is_next, program - before, program)
        w, o, n = tl.where(is_next, w1, w), tl.where(is_next, o1, o), tl.where(is_next, n1, n)
        if b0 is not None:
            b = tl.where(is_next, b1, b)
        if w2 is not None:
            before = tl.cdiv(n1, R)
            is_last = is_next & (program >= before)
            program = tl.where(is_last, program - before, program)
            w, o, n = tl.where(is_last, w2, w), tl.where(is_last, o2, o), tl.where(is_last, n2, n)
            if b0 is not None:
                b = tl.where(is_last, b2, b)
    row = program * R + tl.arange(0, R)
    is_row = row < n
    token = tl.arange(0, T)
    is_out = (token < M)[:, None] & is_row[None, :]
    places = token.to(tl.int64)[:, None] * n + row[None, :]
    total = product(x, w, row, n, M, K, x_stride, row_stride, FORMAT, T, R, W, BLOCK_K, WHOLE)
    if b0 is not None:
        total += tl.load(b + row, is_row, other=0).to(tl.float32)[None, :]
    if ACT != "":
        up = product(x, w1, row, n, M, K, x_stride, row_stride, FORMAT, T, R, W, BLOCK_K, WHOLE)
        if b1 is not None:
            up += tl.load(b1 + row, is_row, other=0).to(tl.float32)[None, :]
        total = activated(total, ACT) * up
    if addend is not None:
        total += tl.load(addend + places, is_out, other=0).to(tl.float32)
    tl.store(o + places, total.to(o.dtype.element_ty), is_out)


@triton.jit
def activated(gate, ACT: tl.constexpr):
    """ACT: "silu_mul" or "gelu_tanh_mul"."""
    if ACT == "silu_mul":
        result = gate * tl.sigmoid(gate)
    else:
        # The hyperbolic tangent of y is twice the sigmoid of 2 y, less one.
        twice = 1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)
        result = gate * tl.sigmoid(twice)
    return result


@triton.jit
def product(
    x, w, row, n, M, K, x_stride, row_stride, FORMAT: tl.constexpr, T: tl.constexpr,
    R: tl.constexpr, W: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """(T, R) float32."""
    rows = w + tl.minimum(row, n - 1).to(tl.int64) * row_stride
    tokens = x + tl.minimum(tl.arange(0, T), M - 1).to(tl.int64) * x_stride
    if is_dense(FORMAT):
        total = _product_dense(tokens, rows, K, T, R, BLOCK_K, WHOLE)
    else:
        total = _product_in_runs(tokens, rows, K, FORMAT, T, R, W, BLOCK_K, WHOLE)
    return total


@triton.jit
def _product_dense(
    tokens, rows, K, T: tl.constexpr, R: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr
):
    sums = tl.zeros((T, R, BLOCK_K // 8), tl.float32)
    for start in range(0, K, BLOCK_K):
        values = decode(rows, start, K, "dense", BLOCK_K, WHOLE)
        inputs = _inputs_in_eights(tokens, start, K, BLOCK_K, WHOLE)
        values = tl.reshape(values, (1, R, BLOCK_K // 8, 2, 2, 2))
        inputs = tl.reshape(inputs, (T, 1, BLOCK_K // 8, 2, 2, 2))
        sums = _dot8(values, inputs, sums)
    return tl.sum(sums, 2)


@triton.jit
def _inputs_in_eights(tokens, start, K, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr):
    """(T, BLOCK_K / 8, 8 / EACH, EACH) float32: x. EACH: in 16 bytes; a thread has all of an eight."""
    EACH: tl.constexpr = 4 if tokens.dtype.element_ty.primitive_bitwidth == 32 else 8
    columns = tl.arange(0, 8 // EACH)[:, None, None] * EACH + tl.arange(0, EACH)[None, None, :]
    columns += start + tl.arange(0, BLOCK_K // 8)[None, :, None] * 8
    pointers = tokens[:, None, None, None] + columns[None, :, :, :]
    pointers = tl.max_contiguous(pointers, (1, 1, 4, 8))
    if WHOLE:
        inputs = tl.load(pointers)
    else:
        inputs = tl.load(pointers, (columns < K)[None, :, :, :], other=0)
    return tl.permute(inputs.to(tl.float32), (0, 2, 1, 3))


@triton.jit
def _product_in_runs(
    tokens, rows, K, FORMAT: tl.constexpr, T: tl.constexpr, R: tl.constexpr, W: tl.constexpr,
    BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    RUNS: tl.constexpr = BLOCK_K // 32
    S: tl.constexpr = shares(FORMAT)
    sums = tl.zeros((T, R // W, W, RUNS), tl.float32)
    for start in range(0, K, BLOCK_K):
        values = tiny_codes(rows, start, K, FORMAT, BLOCK_K, WHOLE)
        scale, minimum = scales(rows, start, K, FORMAT, BLOCK_K, WHOLE)
        inputs, factors = _inputs_in_runs(tokens, start, K, FORMAT, W, RUNS, WHOLE)
        values = tl.reshape(values, (1, R // W, W, RUNS, S, 4 // S, 2, 2, 2))
        scaled = tl.reshape(inputs * factors, (T, 1, W, RUNS, S, 4 // S, 2, 2, 2))
        eighths = tl.zeros((T, R // W, W, RUNS, S, 4 // S), tl.float32)
        parts = tl.sum(_dot8(values, scaled, eighths), 5) * 5.902958103587057e20  # 2 ** 69
        parts *= tl.reshape(scale, (1, R // W, W, RUNS, S))
        if has_offsets(FORMAT):
            offset = offsets(rows, scale, minimum, start, K, FORMAT, BLOCK_K, WHOLE)
            whole = tl.sum(tl.reshape(inputs, (T, 1, W, RUNS, S, 32 // S)), 5)
            parts += whole * tl.reshape(offset, (1, R // W, W, RUNS, S))
        sums += tl.sum(parts, 4)
    return tl.reshape(tl.sum(sums, 3), (T, R))


@triton.jit
def _inputs_in_runs(
    tokens, start, K, FORMAT: tl.constexpr, W: tl.constexpr, RUNS: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    """(T, W, RUNS, 32 / EACH, EACH) float32: x, for each of W rows the same; and its factors.

    EACH: in 16 bytes, so that a thread has all of a run.
    """
    EACH: tl.constexpr = 4 if tokens.dtype.element_ty.primitive_bitwidth == 32 else 8
    pieces = tl.arange(0, 32 // EACH)[:, None, None, None] * EACH
    places = pieces + tl.arange(0, EACH)[None, None, None, :]
    columns = tl.arange(0, RUNS)[None, None, :, None] * 32 + tl.zeros((1, W, 1, 1), tl.int32)
    columns += start + places
    # See `stored`: what a thread has is shared out from the last axis to the first.
    pointers = tokens[:, None, None, None, None] + columns[None, :, :, :, :]
    pointers = tl.max_contiguous(pointers, (1, 1, 2, 4, 8))
    if WHOLE:
        inputs = tl.load(pointers)
    else:
        inputs = tl.load(pointers, (columns < K)[None, :, :, :, :], other=0)
    factors = tiny_factor(places, FORMAT)[None, :, :, :, :]
    inputs = tl.permute(inputs.to(tl.float32), (0, 2, 3, 1, 4))
    return inputs, tl.permute(factors, (0, 2, 3, 1, 4))


@triton.jit
def _dot8(a, b, sums):
    """The sums, and a * b over their last three axes, of two each, one after another."""
    a0, a1 = tl.split(a)
    b0, b1 = tl.split(b)
    return _dot4(a1, b1, _dot4(a0, b0, sums))


@triton.jit
def _dot4(a, b, sums):
    a0, a1 = tl.split(a)
    b0, b1 = tl.split(b)
    return _dot2(a1, b1, _dot2(a0, b0, sums))


@triton.jit
def _dot2(a, b, sums):
    a0, a1 = tl.split(a)
    b0, b1 = tl.split(b)
    return a1 * b1 + (a0 * b0 + sums)
