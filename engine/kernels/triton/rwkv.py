"""RWKV's recurrences: a program has some columns of one head's state, and takes row after row."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels.batch import BatchLayout
from engine.kernels.triton.base import ceil_div
from engine.kernels.triton.sequences import power_of_two, rows_of, rowwise

COLUMNS = 16
"""Of a head's state that a program has, in the registers of one warp."""


@triton.jit
def _rwkv6_kernel(
    r_at,
    k_at,
    v_at,
    decay_at,
    bonus_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    r_stride,
    k_stride,
    v_stride,
    decay_stride,
    slot_stride,
    HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if count <= 0:
        return
    columns, keys = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, KEYS)
    is_column, is_key = columns < VALUE_DIM, keys < KEY_DIM
    places = (head * KEY_DIM + keys)[:, None] * VALUE_DIM + columns[None, :]
    is_place = is_key[:, None] & is_column[None, :]
    state = tl.zeros([KEYS, COLUMNS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)
    bonus = tl.load(bonus_at + head * KEY_DIM + keys, mask=is_key, other=0.0).to(tl.float32)

    r_at += first * r_stride + head * KEY_DIM + keys
    k_at += first * k_stride + head * KEY_DIM + keys
    decay_at += first * decay_stride + head * KEY_DIM + keys
    v_at += first * v_stride + head * VALUE_DIM + columns
    out_at += (first * HEADS + head) * VALUE_DIM + columns
    r = tl.load(r_at, mask=is_key, other=0.0)
    k = tl.load(k_at, mask=is_key, other=0.0)
    decay = tl.load(decay_at, mask=is_key, other=0.0)
    v = tl.load(v_at, mask=is_column, other=0.0)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_r = tl.load(r_at + following * r_stride, mask=is_key, other=0.0)
        next_k = tl.load(k_at + following * k_stride, mask=is_key, other=0.0)
        next_decay = tl.load(decay_at + following * decay_stride, mask=is_key, other=0.0)
        next_v = tl.load(v_at + following * v_stride, mask=is_column, other=0.0)
        received, key, value = r.to(tl.float32), k.to(tl.float32), v.to(tl.float32)
        y = tl.sum(received[:, None] * state, axis=0)
        y += tl.sum(received * bonus * key, axis=0) * value
        state = tl.exp(decay.to(tl.float32))[:, None] * state + key[:, None] * value[None, :]
        at = out_at + row * HEADS * VALUE_DIM
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_column)
        r, k, v, decay = next_r, next_k, next_v, next_decay

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


def rwkv6_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    bonus: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    r, k, v, log_decay = (rowwise(each) for each in (r, k, v, log_decay))
    _, num_heads, key_dim, value_dim = state.shape
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    _rwkv6_kernel[ceil_div(value_dim, COLUMNS), num_heads, len(layout.state_reads)](
        r,
        k,
        v,
        log_decay,
        bonus,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        r.stride(0),
        k.stride(0),
        v.stride(0),
        log_decay.stride(0),
        state.stride(0),
        HEADS=num_heads,
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        KEYS=power_of_two(key_dim),
        COLUMNS=COLUMNS,
        num_warps=1,
    )
    return out


@triton.jit
def _rwkv7_kernel(
    r_at,
    k_at,
    v_at,
    decay_at,
    removal_at,
    rate_at,
    state_at,
    out_at,
    query_starts_at,
    reads_at,
    writes_at,
    r_stride,
    k_stride,
    v_stride,
    decay_stride,
    removal_stride,
    rate_stride,
    slot_stride,
    HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    head, sequence = tl.program_id(1), tl.program_id(2)
    first, count = rows_of(query_starts_at, sequence)
    if count <= 0:
        return
    columns, keys = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS), tl.arange(0, KEYS)
    is_column, is_key = columns < VALUE_DIM, keys < KEY_DIM
    places = (head * KEY_DIM + keys)[:, None] * VALUE_DIM + columns[None, :]
    is_place = is_key[:, None] & is_column[None, :]
    state = tl.zeros([KEYS, COLUMNS], tl.float32)
    read = tl.load(reads_at + sequence)
    if read >= 0:
        state = tl.load(state_at + read * slot_stride + places, mask=is_place, other=0.0)

    r_at += first * r_stride + head * KEY_DIM + keys
    k_at += first * k_stride + head * KEY_DIM + keys
    decay_at += first * decay_stride + head * KEY_DIM + keys
    removal_at += first * removal_stride + head * KEY_DIM + keys
    rate_at += first * rate_stride + head * KEY_DIM + keys
    v_at += first * v_stride + head * VALUE_DIM + columns
    out_at += (first * HEADS + head) * VALUE_DIM + columns
    r = tl.load(r_at, mask=is_key, other=0.0)
    k = tl.load(k_at, mask=is_key, other=0.0)
    decay = tl.load(decay_at, mask=is_key, other=0.0)
    removal = tl.load(removal_at, mask=is_key, other=0.0)
    rate = tl.load(rate_at, mask=is_key, other=0.0)
    v = tl.load(v_at, mask=is_column, other=0.0)
    for row in range(count):
        following = tl.minimum(row + 1, count - 1)  # on its way while this one is computed
        next_r = tl.load(r_at + following * r_stride, mask=is_key, other=0.0)
        next_k = tl.load(k_at + following * k_stride, mask=is_key, other=0.0)
        next_decay = tl.load(decay_at + following * decay_stride, mask=is_key, other=0.0)
        next_removal = tl.load(removal_at + following * removal_stride, mask=is_key, other=0.0)
        next_rate = tl.load(rate_at + following * rate_stride, mask=is_key, other=0.0)
        next_v = tl.load(v_at + following * v_stride, mask=is_column, other=0.0)
        old = removal.to(tl.float32)
        new = old * rate.to(tl.float32)
        found = tl.sum(old[:, None] * state, axis=0)
        added = k.to(tl.float32)[:, None] * v.to(tl.float32)[None, :]
        kept = tl.exp(decay.to(tl.float32))[:, None] * state
        state = kept - new[:, None] * found[None, :] + added
        y = tl.sum(r.to(tl.float32)[:, None] * state, axis=0)
        at = out_at + row * HEADS * VALUE_DIM
        tl.store(at, y.to(out_at.dtype.element_ty), mask=is_column)
        r, k, v = next_r, next_k, next_v
        decay, removal, rate = next_decay, next_removal, next_rate

    write = tl.load(writes_at + sequence)
    if write >= 0:
        tl.debug_barrier()  # all threads have read what was there
        tl.store(state_at + write * slot_stride + places, state, mask=is_place)


def rwkv7_scan(
    r: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    removal: Tensor,
    rate: Tensor,
    state: Tensor,
    layout: BatchLayout,
) -> Tensor:
    r, k, v, log_decay, removal, rate = (
        rowwise(each) for each in (r, k, v, log_decay, removal, rate)
    )
    _, num_heads, key_dim, value_dim = state.shape
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    _rwkv7_kernel[ceil_div(value_dim, COLUMNS), num_heads, len(layout.state_reads)](
        r,
        k,
        v,
        log_decay,
        removal,
        rate,
        state,
        out,
        layout.query_starts,
        layout.state_reads,
        layout.state_writes,
        r.stride(0),
        k.stride(0),
        v.stride(0),
        log_decay.stride(0),
        removal.stride(0),
        rate.stride(0),
        state.stride(0),
        HEADS=num_heads,
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        KEYS=power_of_two(key_dim),
        COLUMNS=COLUMNS,
        num_warps=1,
    )
    return out


@triton.jit
def _bonus_kernel(
    r_at,
    k_at,
    v_at,
    factors_at,
    out_at,
    r_stride,
    k_stride,
    v_stride,
    HEADS: tl.constexpr,
    KEY_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KEYS: tl.constexpr,
    VALUES: tl.constexpr,
):
    head, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    keys, values = tl.arange(0, KEYS), tl.arange(0, VALUES)
    is_key, is_value = keys < KEY_DIM, values < VALUE_DIM
    key = head * KEY_DIM + keys
    value = head * VALUE_DIM + values
    r = tl.load(r_at + row * r_stride + key, mask=is_key, other=0.0).to(tl.float32)
    k = tl.load(k_at + row * k_stride + key, mask=is_key, other=0.0).to(tl.float32)
    factors = tl.load(factors_at + key, mask=is_key, other=0.0).to(tl.float32)
    v = tl.load(v_at + row * v_stride + value, mask=is_value, other=0.0).to(tl.float32)
    said = tl.sum(r * k * factors, axis=0) * v
    at = out_at + row * HEADS * VALUE_DIM + value
    tl.store(at, said.to(out_at.dtype.element_ty), mask=is_value)


def rwkv7_bonus(r: Tensor, k: Tensor, v: Tensor, factors: Tensor) -> Tensor:
    r, k, v = rowwise(r), rowwise(k), rowwise(v)
    (num_rows, num_heads, value_dim), key_dim = v.shape, factors.shape[1]
    out = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    _bonus_kernel[num_heads, num_rows](
        r,
        k,
        v,
        factors,
        out,
        r.stride(0),
        k.stride(0),
        v.stride(0),
        HEADS=num_heads,
        KEY_DIM=key_dim,
        VALUE_DIM=value_dim,
        KEYS=power_of_two(key_dim),
        VALUES=power_of_two(value_dim),
        num_warps=1,
    )
    return out


KERNELS = {"rwkv6_scan": rwkv6_scan, "rwkv7_scan": rwkv7_scan, "rwkv7_bonus": rwkv7_bonus}
