"""The gated delta rule in chunks, by the WY form of arXiv:2406.06484: one decay for each head.

What a row corrects depends on what those before it did: a triangular system, whose inverse is found of
all chunks at once (`_systems_kernel`). `_carry_kernel` then takes the states from chunk to chunk.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import INTERPRETS, ceil_div
from engine.kernels.triton.chunks import (
    decay_since_start,
    decay_until_end,
    decays_between,
    dot32,
)
from engine.kernels.triton.sequences import longest_query, power_of_two, rows_of, sigmoid

CHUNK = 32
COLUMNS = 16
"""Of a head's state that a program of `_carry_kernel` has: more, or longer chunks, would spill."""

_UPCAST = tl.constexpr(INTERPRETS)


@triton.jit
def _parts(x):
    """X as a sum of two bfloat16: 17 bits of it."""
    high = x.to(tl.bfloat16)
    return high, (x.to(tl.float32) - high.to(tl.float32)).to(tl.bfloat16)


@triton.jit
def _dot(a, b):
    """A @ b of float32 to 16 bits: what is left out is the product of what is least in both."""
    if _UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    a_high, a_low = _parts(a)
    b_high, b_low = _parts(b)
    return tl.dot(a_high, b_high, tl.dot(a_high, b_low, tl.dot(a_low, b_high)))


@triton.jit
def _systems_kernel(
    q_at,
    k_at,
    decay_at,
    beta_at,
    solved_at,
    scores_at,
    decays_at,
    query_starts_at,
    q_stride,
    k_stride,
    decay_stride,
    beta_stride,
    max_beta,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    IS_TILED: tl.constexpr,
    KEYS: tl.constexpr,
    LEAST_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    start = tl.program_id(0) * CHUNK
    if (count < LEAST_ROWS) | (start >= count):
        return
    rows = tl.arange(0, CHUNK)
    here = start + rows
    is_row = here < count
    key_head = head % KEY_HEADS if IS_TILED else head // (HEADS // KEY_HEADS)
    q_at += first * q_stride + key_head * KEY_DIM
    k_at += first * k_stride + key_head * KEY_DIM
    own = tl.zeros([CHUNK, CHUNK], tl.float32)
    scores = tl.zeros([CHUNK, CHUNK], tl.float32)
    for key in range(0, KEYS, 32):
        keys = key + tl.arange(0, 32)
        is_place = is_row[:, None] & (keys < KEY_DIM)[None, :]
        q = tl.load(q_at + here[:, None] * q_stride + keys[None, :], mask=is_place, other=0.0)
        k = tl.load(k_at + here[:, None] * k_stride + keys[None, :], mask=is_place, other=0.0)
        own += dot32(k, tl.trans(k))
        scores += dot32(q, tl.trans(k))
    at = decay_at + (first + here) * decay_stride + head
    decay = tl.load(at, mask=is_row, other=0.0)
    beta = tl.load(beta_at + (first + here) * beta_stride + head, mask=is_row, other=0.0)
    beta = max_beta * sigmoid(beta.to(tl.float32))
    between = decays_between(decay, rows)
    system = tl.where(rows[:, None] > rows[None, :], beta[:, None] * own * between, 0.0)
    solved = tl.where(rows[:, None] == rows[None, :], 1.0, 0.0)
    for row in range(1, CHUNK):
        is_own = rows[:, None] == row
        factors = tl.sum(tl.where(is_own, system, 0.0), axis=0)
        solved -= tl.where(is_own, tl.sum(factors[:, None] * solved, axis=0)[None, :], 0.0)

    places = ((first + here) * HEADS + head)[:, None] * CHUNK + rows[None, :]
    tl.store(solved_at + places, solved * beta[None, :], mask=is_row[:, None])
    tl.store(scores_at + places, scores * between, mask=is_row[:, None])
    at = decays_at + ((first + here) * HEADS + head) * 2
    tl.store(at, decay_since_start(decay), mask=is_row)
    tl.store(at + 1, decay_until_end(decay, rows), mask=is_row)


@triton.jit
def _carry_kernel(
    q_at,
    k_at,
    v_at,
    solved_at,
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
    scale,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    IS_TILED: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
    LEAST_ROWS: tl.constexpr,
    CHUNK: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if count < LEAST_ROWS:
        return
    rows, keys = tl.arange(0, CHUNK), tl.arange(0, KEYS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    is_column, is_key = columns < VALUE_DIM, keys < KEY_DIM
    places = (head * KEY_DIM + keys)[:, None] * VALUE_DIM + columns[None, :]
    is_place = is_key[:, None] & is_column[None, :]
    state = tl.zeros([KEYS, COLUMNS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)

    key_head = head % KEY_HEADS if IS_TILED else head // (HEADS // KEY_HEADS)
    q_at += first * q_stride + key_head * KEY_DIM + keys
    k_at += first * k_stride + key_head * KEY_DIM + keys
    v_at += first * v_stride + head * VALUE_DIM + columns
    out_at += (first * HEADS + head) * VALUE_DIM + columns
    solved_at += (first * HEADS + head) * CHUNK + rows
    scores_at += (first * HEADS + head) * CHUNK + rows
    decays_at += (first * HEADS + head) * 2
    for start in range(0, count, CHUNK):
        here = start + rows
        is_row = here < count
        is_k = is_row[:, None] & is_key[None, :]
        is_v = is_row[:, None] & is_column[None, :]
        beside = here[:, None] * (HEADS * CHUNK)
        k = tl.load(k_at[None, :] + here[:, None] * k_stride, mask=is_k, other=0.0)
        v = tl.load(v_at[None, :] + here[:, None] * v_stride, mask=is_v, other=0.0)
        solved = tl.load(solved_at[None, :] + beside, mask=is_row[:, None], other=0.0)
        since_start = tl.load(decays_at + here * (HEADS * 2), mask=is_row, other=0.0)[:, None]
        until_end = tl.load(decays_at + here * (HEADS * 2) + 1, mask=is_row, other=0.0)[:, None]
        last = tl.minimum(start + CHUNK, count) - 1
        total = tl.load(decays_at + last * (HEADS * 2))

        wrong = v.to(tl.float32) - since_start * _dot(k, state)
        correction = _dot(solved, wrong)
        q = tl.load(q_at[None, :] + here[:, None] * q_stride, mask=is_k, other=0.0)
        scores = tl.load(scores_at[None, :] + beside, mask=is_row[:, None], other=0.0)
        y = scale * (since_start * _dot(q, state) + _dot(scores, correction))
        state = total * state + _dot(tl.trans(k), until_end * correction)
        at = out_at[None, :] + here[:, None] * (HEADS * VALUE_DIM)
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_v)

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


def in_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor,
    state: Tensor,
    out: Tensor,
    layout: BatchLayout,
    *,
    least_rows: int,
    tiled: bool,
    max_beta: float,
) -> None:
    """As `ops.gated_delta_rule`, of the sequences with no less than `least_rows`. decay: (T, H)."""
    _, num_heads, key_dim, value_dim = state.shape
    num_sequences, num_key_heads = len(layout.state_reads), q.shape[1]
    solved, scores = (v.new_empty(len(v), num_heads, CHUNK, dtype=torch.float32) for _ in range(2))
    decays = v.new_empty(len(v), num_heads, 2, dtype=torch.float32)
    num_chunks = ceil_div(longest_query(v, layout), CHUNK)
    _systems_kernel[num_chunks, num_heads, num_sequences](
        q,
        k,
        decay,
        beta,
        solved,
        scores,
        decays,
        layout.query_starts,
        q.stride(0),
        k.stride(0),
        decay.stride(0),
        beta.stride(0),
        max_beta,
        HEADS=num_heads,
        KEY_HEADS=num_key_heads,
        KEY_DIM=key_dim,
        IS_TILED=tiled,
        KEYS=power_of_two(key_dim, 32),
        LEAST_ROWS=least_rows,
        CHUNK=CHUNK,
        num_warps=4,
    )
    _carry_kernel[ceil_div(value_dim, COLUMNS), num_heads, num_sequences](
        q,
        k,
        v,
        solved,
        scores,
        decays,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        state.stride(0),
        key_dim**-0.5,
        HEADS=num_heads,
        KEY_HEADS=num_key_heads,
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        IS_TILED=tiled,
        KEYS=power_of_two(key_dim, 16),
        COLUMNS=COLUMNS,
        LEAST_ROWS=least_rows,
        CHUNK=CHUNK,
        num_warps=8,
        num_stages=2,
    )
