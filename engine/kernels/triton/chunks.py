"""A linear recurrence in chunks: state = exp(log_decay) * state + share * k v^T, read by q.

What the rows of a chunk say to each other is found of all chunks at once, by programs of
`scores_of_chunk`; `carry` then takes the state from chunk to chunk. Chunks begin with their sequence.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import INTERPRETS, ceil_div
from engine.kernels.triton.sequences import power_of_two, rows_of

CHUNK = 64

_UPCAST = tl.constexpr(INTERPRETS)

# Three products of tensor cores are as exact as float32; AMD's have none of less than float32.
_PRECISION = tl.constexpr("ieee" if torch.version.hip else "tf32x3")


@triton.jit
def dot32(a, b):
    """A @ b of float32 values, about as exact as float32 is. Either may be narrower.

    bfloat16 beside float32 is left as it is: the float32 one is taken apart into two bfloat16, of
    17 bits in all.
    """
    if _UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    if a.dtype == tl.bfloat16 and b.dtype == tl.bfloat16:
        return tl.dot(a, b)
    if a.dtype == tl.bfloat16:
        high = b.to(tl.bfloat16)
        low = (b - high.to(tl.float32)).to(tl.bfloat16)
        return tl.dot(a, high, tl.dot(a, low))
    if b.dtype == tl.bfloat16:
        high = a.to(tl.bfloat16)
        low = (a - high.to(tl.float32)).to(tl.bfloat16)
        return tl.dot(high, b, tl.dot(low, b))
    return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision=_PRECISION)


@triton.jit
def decays_between(log_decay, rows):
    """Of rows i and j, what is left at i of what was there after j: (C, C), 0 where i < j.

    Summed anew from every j: of a difference of two sums nothing is exact after a large decay.
    """
    passed = tl.where(rows[:, None] > rows[None, :], log_decay[:, None], 0.0)
    left = tl.exp(tl.cumsum(passed, axis=0))
    return tl.where(rows[:, None] >= rows[None, :], left, 0.0)


@triton.jit
def decay_since_start(log_decay):
    """What is left after each row of what was there before the first."""
    return tl.exp(tl.cumsum(log_decay, axis=0))


@triton.jit
def decay_until_end(log_decay, rows):
    """What is left after the last row of what was there after each."""
    following = tl.where(rows[None, :] > rows[:, None], log_decay[None, :], 0.0)
    return tl.exp(tl.sum(following, axis=1))


@triton.jit
def scores_of_chunk(
    q, k, share, log_decay, start, count, scores_at, decays_at, HEADS: tl.constexpr, C: tl.constexpr
):
    """Leaves what `carry` needs to know of a chunk of one head.

    q, k: (C, N); share, log_decay: (C,), 0 where there is no row. scores_at, decays_at: of the
    sequence's first row, in (T, HEADS, C) and (T, HEADS, 2).
    """
    rows = tl.arange(0, C)
    is_row = start + rows < count
    scores = dot32(q, tl.trans(k)) * decays_between(log_decay, rows) * share[None, :]
    at = scores_at + (start + rows)[:, None] * (HEADS * C) + rows[None, :]
    tl.store(at, scores, mask=is_row[:, None])
    at = decays_at + (start + rows) * (HEADS * 2)
    tl.store(at, decay_since_start(log_decay), mask=is_row)
    tl.store(at + 1, decay_until_end(log_decay, rows) * share, mask=is_row)


@triton.jit
def _carry_kernel(
    q_at,
    k_at,
    v_at,
    skip_at,
    scores_at,
    decays_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    q_stride,
    k_stride,
    v_stride,
    slot_stride,
    HEADS: tl.constexpr,
    PER_GROUP: tl.constexpr,
    KEY_WIDTH: tl.constexpr,
    VALUE_WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
    DIM: tl.constexpr,
    KEYS_FIRST: tl.constexpr,
    HAS_SKIP: tl.constexpr,
    LEAST_ROWS: tl.constexpr,
    SIZES: tl.constexpr,
    DIMS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    """A program has some columns (DIMS) of one head's state, of one sequence."""
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if count < LEAST_ROWS:
        return
    rows, numbers = tl.arange(0, CHUNK), tl.arange(0, SIZES)
    dims = tl.program_id(0) * DIMS + tl.arange(0, DIMS)
    is_dim, is_number = dims < DIM, numbers < SIZE
    if KEYS_FIRST:
        places = numbers[:, None] * DIM + dims[None, :]
    else:
        places = numbers[:, None] + dims[None, :] * SIZE
    places += head * SIZE * DIM
    is_place = is_number[:, None] & is_dim[None, :]
    state = tl.zeros([SIZES, DIMS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)

    q_at += first * q_stride + head // PER_GROUP * KEY_WIDTH + numbers
    k_at += first * k_stride + head // PER_GROUP * KEY_WIDTH + numbers
    v_at += first * v_stride + head * VALUE_WIDTH + dims
    scores_at += (first * HEADS + head) * CHUNK
    decays_at += (first * HEADS + head) * 2
    out_at += (first * HEADS + head) * DIM + dims
    for start in range(0, count, CHUNK):
        here = start + rows
        is_row = here < count
        is_key = is_row[:, None] & is_number[None, :]
        is_value = is_row[:, None] & is_dim[None, :]
        q = tl.load(q_at[None, :] + here[:, None] * q_stride, mask=is_key, other=0.0)
        k = tl.load(k_at[None, :] + here[:, None] * k_stride, mask=is_key, other=0.0)
        v = tl.load(v_at[None, :] + here[:, None] * v_stride, mask=is_value, other=0.0)
        at = scores_at + here[:, None] * (HEADS * CHUNK) + rows[None, :]
        scores = tl.load(at, mask=is_row[:, None], other=0.0)
        since_start = tl.load(decays_at + here * (HEADS * 2), mask=is_row, other=0.0)
        kept = tl.load(decays_at + here * (HEADS * 2) + 1, mask=is_row, other=0.0)
        last = tl.minimum(start + CHUNK, count) - 1
        total = tl.load(decays_at + last * (HEADS * 2))

        y = since_start[:, None] * dot32(q, state) + dot32(scores, v)
        wide = v.to(tl.float32)
        state = total * state + dot32(tl.trans(k), wide * kept[:, None])
        if HAS_SKIP:
            y += tl.load(skip_at + head) * wide
        at = out_at[None, :] + here[:, None] * (HEADS * DIM)
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_value)

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


class Rows(NamedTuple):
    """(T, heads, width) in a tensor whose rows are `stride` apart, and its heads `width`."""

    first: Tensor
    stride: int
    width: int


def has_chunks(x: Tensor) -> bool:
    """Of float32 the tiles would fill registers; in the interpreter anything goes."""
    return INTERPRETS or x.dtype == torch.bfloat16


def new_scores(x: Tensor, num_heads: int) -> tuple[Tensor, Tensor]:
    """Room for the scores and decays of rows x (T, ...)."""
    scores = torch.empty(len(x), num_heads, CHUNK, dtype=torch.float32, device=x.device)
    decays = torch.empty(len(x), num_heads, 2, dtype=torch.float32, device=x.device)
    return scores, decays


def carry_config(size: int) -> dict[str, int]:
    """More columns than that are more than the registers hold."""
    sizes = power_of_two(size, 16)
    return {"SIZES": sizes, "DIMS": 32 if sizes <= 128 else 16, "num_warps": 8, "num_stages": 2}


def carry(
    q: Rows,
    k: Rows,
    v: Rows,
    skip: Tensor | None,
    scores: Tensor,
    decays: Tensor,
    state: Tensor,
    out: Tensor,
    layout: BatchLayout,
    *,
    least_rows: int,
    per_group: int,
    size: int,
    dim: int,
    keys_first: bool,
) -> None:
    """Outputs and states of sequences that have no less than `least_rows`.

    q and k have a head for `per_group` of v. skip: (heads,), a factor on v for the output, too.
    keys_first: states are (heads, size, dim), else (heads, dim, size).
    """
    assert q.width == k.width
    num_heads, tile = out.shape[1], carry_config(size)
    _carry_kernel[ceil_div(dim, tile["DIMS"]), num_heads, len(layout.state_reads)](
        q.first,
        k.first,
        v.first,
        skip,
        scores,
        decays,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        q.stride,
        k.stride,
        v.stride,
        state.stride(0),
        HEADS=num_heads,
        PER_GROUP=per_group,
        KEY_WIDTH=k.width,
        VALUE_WIDTH=v.width,
        SIZE=size,
        DIM=dim,
        KEYS_FIRST=keys_first,
        HAS_SKIP=skip is not None,
        LEAST_ROWS=least_rows,
        CHUNK=CHUNK,
        **tile,
    )
