"""The gated delta rule, row by row: a program has some columns of one head's state.

Many rows are taken in chunks where a head has one decay, and where registers hold its keys.
"""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.delta_chunks import in_chunks
from engine.kernels.triton.sequences import (
    plan_of,
    power_of_two,
    rows_of,
    rowwise,
    sigmoid,
    softplus,
)


def columns_of(key_dim: int) -> int:
    """How many of a head's state a program has, in the registers of one warp."""
    return 16 if key_dim <= 128 else 8


@triton.jit
def _delta_kernel(
    q_at,
    k_at,
    v_at,
    decay_at,
    beta_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    q_stride,
    k_stride,
    v_stride,
    decay_stride,
    beta_stride,
    slot_stride,
    scale,
    max_beta,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    IS_TILED: tl.constexpr,
    BY_CHANNEL: tl.constexpr,
    MOST_ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if (count <= 0) | (count > MOST_ROWS):
        return
    columns, keys = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, KEYS)
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
    beta_at += first * beta_stride + head
    if BY_CHANNEL:
        decay_at += first * decay_stride + head * KEY_DIM + keys
    else:
        decay_at += first * decay_stride + head + tl.zeros_like(keys)
    out_at += (first * HEADS + head) * VALUE_DIM + columns
    q = tl.load(q_at, mask=is_key, other=0.0)
    k = tl.load(k_at, mask=is_key, other=0.0)
    v = tl.load(v_at, mask=is_column, other=0.0)
    decay = tl.load(decay_at, mask=is_key, other=0.0)
    beta = tl.load(beta_at)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_q = tl.load(q_at + following * q_stride, mask=is_key, other=0.0)
        next_k = tl.load(k_at + following * k_stride, mask=is_key, other=0.0)
        next_v = tl.load(v_at + following * v_stride, mask=is_column, other=0.0)
        next_decay = tl.load(decay_at + following * decay_stride, mask=is_key, other=0.0)
        next_beta = tl.load(beta_at + following * beta_stride)
        key = k.to(tl.float32)[:, None]
        state *= tl.exp(decay)[:, None]
        known = tl.sum(key * state, axis=0)
        learned = max_beta * sigmoid(beta.to(tl.float32))
        state += key * (learned * (v.to(tl.float32) - known))[None, :]
        y = tl.sum((q.to(tl.float32) * scale)[:, None] * state, axis=0)
        at = out_at + row * HEADS * VALUE_DIM
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_column)
        q, k, v, decay, beta = next_q, next_k, next_v, next_decay, next_beta

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


def gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor,
    state: Tensor,
    layout: BatchLayout,
    *,
    tiled: bool = False,
    max_beta: float = 1.0,
) -> Tensor:
    q, k, v, decay, beta = (rowwise(each) for each in (q, k, v, decay, beta))
    _, num_heads, key_dim, value_dim = state.shape
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    by_channel = decay.shape[1] > num_heads
    plan = plan_of(v, layout, has_chunks=not by_channel and key_dim <= 128)
    if plan.least_rows:
        in_chunks(
            q,
            k,
            v,
            decay,
            beta,
            state,
            out,
            layout,
            least_rows=plan.least_rows,
            tiled=tiled,
            max_beta=max_beta,
        )
    if not plan.most_rows:
        return out
    columns = columns_of(key_dim)
    grid = ceil_div(value_dim, columns), num_heads, len(layout.state_reads)
    _delta_kernel[grid](
        q,
        k,
        v,
        decay,
        beta,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        decay.stride(0),
        beta.stride(0),
        state.stride(0),
        key_dim**-0.5,
        max_beta,
        HEADS=num_heads,
        KEY_HEADS=q.shape[1],
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        IS_TILED=tiled,
        BY_CHANNEL=by_channel,
        MOST_ROWS=plan.most_rows,
        KEYS=power_of_two(key_dim),
        COLUMNS=columns,
        num_warps=1,
    )
    return out


@triton.jit
def _log_decay_kernel(
    x_at, factor_at, bias_at, out_at, x_stride, width, PER_HEAD: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_column = columns < width
    x = tl.load(x_at + row * x_stride + columns, mask=is_column, other=0.0)
    bias = tl.load(bias_at + columns, mask=is_column, other=0.0)
    factor = tl.load(factor_at + columns // PER_HEAD, mask=is_column, other=0.0)
    soft = softplus(x.to(tl.float32) + bias.to(tl.float32))
    tl.store(out_at + row * width + columns, factor.to(tl.float32) * soft, mask=is_column)


def log_decay(x: Tensor, factor: Tensor, bias: Tensor) -> Tensor:
    x, (num_rows, width) = rowwise(x), x.shape
    out = torch.empty(num_rows, width, dtype=torch.float32, device=x.device)
    block = min(power_of_two(width, 32), 1024)
    _log_decay_kernel[num_rows, ceil_div(width, block)](
        x,
        factor,
        bias,
        out,
        x.stride(0),
        width,
        PER_HEAD=width // len(factor),
        BLOCK=block,
        num_warps=max(1, block // 256),
    )
    return out


KERNELS = {"gated_delta_rule": gated_delta_rule, "log_decay": log_decay}
