"""Writing to the paged caches."""

import torch
import triton
from torch import Tensor
from triton import language as tl

from engine.kernels import registry
from engine.kernels.batch import BatchLayout
from engine.kernels.triton import kept
from engine.kernels.triton.base import ceil_div

_COLUMNS = 1024
_HEADS = 8
_Q8_BLOCKS = 32
"""Of 32 values, that a program packs at once."""


@triton.jit
def write_kernel(
    x, y, cache, second, slots, x_row, y_row, slot_size, second_size,
    COLUMNS: tl.constexpr, SECOND_COLUMNS: tl.constexpr, BLOCK: tl.constexpr, FORMAT: tl.constexpr,
):  # fmt: skip
    """Rows of x go to their slots of cache, those of y, if there is one, to theirs of second."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    if slot < 0:
        return
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < COLUMNS
    values = tl.load(x + row * x_row + columns, mask=inside)
    kept.store(cache + slot * slot_size + columns, values, inside, FORMAT)
    if y is not None:
        inside = columns < SECOND_COLUMNS
        values = tl.load(y + row * y_row + columns, mask=inside)
        kept.store(second + slot * second_size + columns, values, inside, FORMAT)


@triton.jit
def pack_kernel(
    x, y, cache, second, slots, x_row, y_row, slot_size, second_size,
    HEADS: tl.constexpr, DIM: tl.constexpr, SECOND_DIM: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """As `write_kernel`, to caches in q8_0."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + row).to(tl.int64)
    if slot < 0:
        return
    _pack(x + row * x_row, cache + slot * slot_size, HEADS, DIM, BLOCKS)
    _pack(y + row * y_row, second + slot * second_size, HEADS, SECOND_DIM, BLOCKS)


@triton.jit
def _pack(x, cache, HEADS: tl.constexpr, DIM: tl.constexpr, BLOCKS: tl.constexpr):
    """Does a program's blocks of 32, of all that a row's heads have; a head's last may be short."""
    PER_HEAD: tl.constexpr = (DIM + 31) // 32
    ROW_BYTES: tl.constexpr = DIM + 2 * PER_HEAD
    blocks = tl.program_id(1) * BLOCKS + tl.arange(0, BLOCKS)
    heads, block = blocks // PER_HEAD, blocks % PER_HEAD
    columns = block[:, None] * 32 + tl.arange(0, 32)[None, :]
    inside = (heads < HEADS)[:, None] & (columns < DIM)
    values = tl.load(x + heads[:, None] * DIM + columns, mask=inside, other=0)
    codes, scales = kept.pack_blocks(values.to(tl.float32))
    tl.store(cache + heads[:, None] * ROW_BYTES + columns, codes, mask=inside)
    places = cache + heads * ROW_BYTES + DIM + 2 * block
    bits = scales.to(tl.uint16, bitcast=True)
    tl.store(places, (bits & 0xFF).to(tl.uint8), mask=heads < HEADS)
    tl.store(places + 1, (bits >> 8).to(tl.uint8), mask=heads < HEADS)


def cache_write(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, layout: BatchLayout) -> None:
    k, v = _rows(k), _rows(v)
    num_rows, num_heads = k.shape[:2]
    dim, value_dim = k.shape[2], v.shape[2]
    arguments = (k, v, kept.as_bytes(keys), kept.as_bytes(values), layout.slots)
    strides = (k.stride(0), v.stride(0), keys.stride(1), values.stride(1))
    form = kept.format_of(keys)
    if form == kept.Q8:
        blocks = num_heads * ceil_div(max(dim, value_dim), 32)
        grid = (num_rows, ceil_div(blocks, _Q8_BLOCKS))
        pack_kernel[grid](*arguments, *strides, num_heads, dim, value_dim, _Q8_BLOCKS)
        return
    columns, second = num_heads * dim, num_heads * value_dim
    block = min(_COLUMNS, triton.next_power_of_2(max(columns, second)))
    grid = (num_rows, ceil_div(max(columns, second), block))
    write_kernel[grid](*arguments, *strides, columns, second, block, form)


def latent_write(latent: Tensor, latents: Tensor, layout: BatchLayout) -> None:
    if latent.stride(-1) != 1:
        latent = latent.contiguous()
    num_rows, columns = latent.shape
    block = min(_COLUMNS, triton.next_power_of_2(columns))
    grid = (num_rows, ceil_div(columns, block))
    strides = (latent.stride(0), 0, latents.stride(1), 0)
    form = kept.format_of(latents)
    write_kernel[grid](
        latent, None, kept.as_bytes(latents), None, layout.slots, *strides, columns, 0, block, form
    )


def _rows(x: Tensor) -> Tensor:
    """X (T, H, d), each row of which lies in one piece."""
    is_dense = x.stride(2) == 1 and x.stride(1) == x.shape[2]
    return x if is_dense else x.contiguous()


@triton.jit
def rope_write_kernel(
    q, k, v, table, turned, keys, values, slots,
    q_row, q_head, k_row, k_head, v_row, v_head, key_slot, key_head, value_slot, value_head,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr, HALF_PAD: tl.constexpr, REST_PAD: tl.constexpr,
    VALUE_PAD: tl.constexpr, BLOCK_H: tl.constexpr, FORMAT: tl.constexpr,
):  # fmt: skip
    """A program turns some heads of a row's q, or of its k, which it writes with those of v."""
    row = tl.program_id(0).to(tl.int64)
    index = tl.program_id(1)
    Q_PROGRAMS: tl.constexpr = (HEADS + BLOCK_H - 1) // BLOCK_H
    angles = table + row * 2 * HALF
    if index < Q_PROGRAMS:
        heads = index * BLOCK_H + tl.arange(0, BLOCK_H)
        _turn(
            q + row * q_row, q_head, turned + row * HEADS * DIM, DIM, angles, heads, heads < HEADS,
            HALF, DIM, HALF_PAD, REST_PAD, "dense",
        )  # fmt: skip
        return
    slot = tl.load(slots + row).to(tl.int64)
    if slot < 0:
        return
    heads = (index - Q_PROGRAMS) * BLOCK_H + tl.arange(0, BLOCK_H)
    there = heads < KV_HEADS
    _turn(
        k + row * k_row, k_head, keys + slot * key_slot, key_head, angles, heads, there,
        HALF, DIM, HALF_PAD, REST_PAD, FORMAT,
    )  # fmt: skip
    columns = tl.arange(0, VALUE_PAD)[None, :]
    inside = there[:, None] & (columns < VALUE_DIM)
    own = tl.load(v + row * v_row + heads[:, None] * v_head + columns, mask=inside)
    places = values + slot * value_slot + heads[:, None] * value_head + columns
    kept.store(places, own, inside, FORMAT)


@triton.jit
def _turn(
    x, x_head, result, result_head, angles, heads, there,
    HALF: tl.constexpr, DIM: tl.constexpr, HALF_PAD: tl.constexpr, REST_PAD: tl.constexpr,
    FORMAT: tl.constexpr,
):  # fmt: skip
    """As `ops.rope`, of some heads of one row. Rounded to x's dtype ahead of the cache's."""
    pairs = tl.arange(0, HALF_PAD)
    cos = tl.load(angles + pairs, mask=pairs < HALF, other=0.0)[None, :]
    sin = tl.load(angles + HALF + pairs, mask=pairs < HALF, other=0.0)[None, :]
    inside = there[:, None] & (pairs < HALF)[None, :]
    source = x + heads[:, None] * x_head
    target = result + heads[:, None] * result_head
    first = tl.load(source + pairs[None, :], mask=inside, other=0.0).to(tl.float32)
    second = tl.load(source + HALF + pairs[None, :], mask=inside, other=0.0).to(tl.float32)
    kind = x.dtype.element_ty
    kept.store(target + pairs[None, :], (first * cos - second * sin).to(kind), inside, FORMAT)
    kept.store(
        target + HALF + pairs[None, :], (second * cos + first * sin).to(kind), inside, FORMAT
    )
    if DIM > 2 * HALF:
        rest = 2 * HALF + tl.arange(0, REST_PAD)[None, :]
        inside = there[:, None] & (rest < DIM)
        kept.store(target + rest, tl.load(source + rest, mask=inside), inside, FORMAT)


def rope_cache_write(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    table: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
) -> Tensor:
    """Gives `rope` of q; that of k is written with v, as `cache_write` says."""
    form = kept.format_of(keys)
    if form == kept.Q8:
        rope = registry.find("rope", device=q.device.type)
        cache_write(rope(k, table), v, keys, values, layout)
        turned: Tensor = rope(q, table)
        return turned
    num_rows, heads, dim = q.shape
    kv_heads, value_dim, half = k.shape[1], v.shape[2], table.shape[2]
    turned = torch.empty((num_rows, heads, dim), dtype=q.dtype, device=q.device)
    block = min(_HEADS, triton.next_power_of_2(kv_heads))
    grid = (num_rows, ceil_div(heads, block) + ceil_div(kv_heads, block))
    q, k, v = (x if x.stride(2) == 1 else x.contiguous() for x in (q, k, v))
    rope_write_kernel[grid](
        q, k, v, table.contiguous(), turned, kept.as_bytes(keys), kept.as_bytes(values),
        layout.slots, *q.stride()[:2], *k.stride()[:2], *v.stride()[:2],
        *keys.stride()[1:3], *values.stride()[1:3],
        heads, kv_heads, half, dim, value_dim, triton.next_power_of_2(half),
        triton.next_power_of_2(max(dim - 2 * half, 1)), triton.next_power_of_2(value_dim), block, form,
    )  # fmt: skip
    return turned


KERNELS = {
    "cache_write": cache_write,
    "latent_write": latent_write,
    "rope_cache_write": rope_cache_write,
}
