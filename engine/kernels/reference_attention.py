"""The paged cache and attention over it, in plain torch.

A group is B sequences of t rows each: all the sequences that decode (t = 1), padded to the longest,
or one that prefills (B = 1). Memory is bounded: scores by SCORES_BYTES, gathered keys and values by
GATHER_TOKENS or by one sequence, whichever is longer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout
from engine.kernels.q8_0 import is_packed, pack, row_size, unpack
from engine.kernels.registry import register

SCORES_BYTES = 16 * 2**20
GATHER_TOKENS = 8192

F8 = torch.float8_e4m3fn
F8_GREATEST = 448
"""What is greater, infinity too, which the format has not, is kept as this."""


@register("cache_write")
def cache_write(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, layout: BatchLayout) -> None:
    put_rows(keys, layout, _stored(k, keys))
    put_rows(values, layout, _stored(v, values))


def put_rows(cache: Tensor, layout: BatchLayout, rows: Tensor) -> None:
    """Rows (T, ...) to the layout's slots of a cache (blocks, block_size, ...); to -1 none."""
    slots = layout.slots
    if cache.dtype == F8:  # of which torch has no index_copy_
        cache, rows = cache.view(torch.uint8), rows.view(torch.uint8)
    if len(slots) and int(slots.min()) < 0:
        slots, rows = slots[slots >= 0], rows[slots >= 0]
    cache.flatten(0, 1).index_copy_(0, slots, rows)


def _stored(rows: Tensor, cache: Tensor) -> Tensor:
    """Rows as a cache keeps them."""
    if cache.dtype == F8:
        return rows.float().clamp(-F8_GREATEST, F8_GREATEST).to(F8)
    return pack(rows) if is_packed(cache) else rows


def _read(cache: Tensor, blocks: Tensor) -> Tensor:
    """Blocks of a cache in float32."""
    if cache.dtype == F8:
        return cache.view(torch.uint8)[blocks].view(F8).float()
    return unpack(cache[blocks]) if is_packed(cache) else cache[blocks].float()


@register("paged_attention")
def paged_attention(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    layout: BatchLayout,
    *,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    alibi: Tensor | None = None,
    chosen: Tensor | None = None,
) -> Tensor:
    value_size = row_size(values.shape[3]) if is_packed(values) else values.shape[3]
    result = q.new_empty(*q.shape[:2], value_size)
    for group in groups(layout):
        rows = q[group.first_row : group.last_row].view(-1, group.num_rows, *q.shape[1:])
        blocks, start = visible_blocks(group, layout, window)
        k = _read(keys, blocks).flatten(1, 2)
        v = _read(values, blocks).flatten(1, 2)
        positions = start[:, None] + torch.arange(k.shape[1], device=k.device)
        # What lies past a sequence's end belongs to another, and 0 * nan would let it through.
        v.masked_fill_((positions >= group.context_lens[:, None])[..., None, None], 0)
        attended = _attend(
            rows,
            k,
            v,
            Mask(group, positions, window, None if chosen is None else group.rows_of(chosen)),
            scale=scale,
            softcap=softcap,
            sinks=sinks,
            alibi=alibi,
        )
        result[group.first_row : group.last_row] = attended.flatten(0, 1)
    return result


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences first_sequence.. of num_rows rows each, one after the other."""

    first_sequence: int
    first_row: int
    last_row: int
    num_rows: int
    context_lens: Tensor
    longest: int
    has_blind: bool
    """Whether rows stand before their sequence, where there is nothing: of a batch that was filled up."""

    def rows_of(self, values: Tensor) -> Tensor:
        """Of values (T, ...), this group's: (B, t, ...)."""
        return values[self.first_row : self.last_row].view(-1, self.num_rows, *values.shape[1:])


def groups(layout: BatchLayout) -> Iterator[Group]:
    starts, lens = layout.query_starts.tolist(), layout.context_lens.tolist()
    first = 0
    while first < len(lens):
        num_rows = starts[first + 1] - starts[first]
        last, longest = first + 1, lens[first]
        if num_rows == 0:
            first = last
            continue
        while num_rows == 1 and last < len(lens) and starts[last + 1] - starts[last] == 1:
            if max(longest, lens[last]) * (last + 1 - first) > GATHER_TOKENS:
                break
            longest = max(longest, lens[last])
            last += 1
        context_lens = layout.context_lens[first:last]
        has_blind = min(lens[first:last]) < num_rows
        yield Group(first, starts[first], starts[last], num_rows, context_lens, longest, has_blind)
        first = last


def visible_blocks(group: Group, layout: BatchLayout, window: int | None) -> tuple[Tensor, Tensor]:
    """The blocks that any row of a sequence sees, (B, blocks), and their first positions, (B,)."""
    size = layout.block_size
    num_blocks = -(-group.longest // size)
    first_block = torch.zeros_like(group.context_lens)
    if window is not None:
        first_seen = group.context_lens - group.num_rows - window + 1
        first_block = first_seen.clamp(min=0) // size
        num_blocks = min(num_blocks, (window + group.num_rows - 2) // size + 2)
    entries = first_block[:, None] + torch.arange(num_blocks, device=first_block.device)
    entries = entries.clamp(max=layout.block_tables.shape[1] - 1)
    first = group.first_sequence
    tables = layout.block_tables[first : first + len(group.context_lens)]
    return tables.gather(1, entries), first_block * size


@dataclass(frozen=True, slots=True)
class Mask:
    group: Group
    positions: Tensor
    window: int | None
    chosen: Tensor | None = None

    def hidden(self, first: int, last: int) -> Tensor:
        """Which keys the rows first..last of each sequence must not see: (B, rows, L)."""
        rows = torch.arange(first, last, device=self.positions.device)
        row_positions = self.group.context_lens[:, None] - self.group.num_rows + rows
        distance = row_positions[:, :, None] - self.positions[:, None]
        hidden = distance < 0
        if self.chosen is not None:
            hidden |= ~self._is_chosen(self.chosen[:, first:last], hidden)
        return hidden if self.window is None else hidden | (distance >= self.window)

    @staticmethod
    def _is_chosen(chosen: Tensor, like: Tensor) -> Tensor:
        """chosen: (B, rows, k), -1 for none; as flags of all L positions from 0."""
        length = like.shape[-1]
        flags = torch.zeros(*like.shape[:-1], length + 1, dtype=torch.bool, device=like.device)
        return flags.scatter_(-1, chosen.where(chosen >= 0, length), value=True)[..., :length]


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask,
    *,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
    alibi: Tensor | None,
) -> Tensor:
    """q: (B, t, H, d), k: (B, L, Hkv, d), v: (B, L, Hkv, e), float32; gives (B, t, H, e)."""
    batch, num_rows, num_heads, head_dim = q.shape
    num_kv_heads, shared = k.shape[2], num_heads // k.shape[2]
    grouped = q.float().view(batch, num_rows, num_kv_heads, shared, head_dim)
    k, v = k.permute(0, 2, 3, 1), v.transpose(1, 2)
    step = max(1, SCORES_BYTES // (4 * batch * num_heads * max(1, k.shape[-1])))
    parts = []
    for first in range(0, num_rows, step):
        last = min(first + step, num_rows)
        # Heads of a group are rows of one product: broadcasting would copy k for each of them.
        rows = grouped[:, first:last].permute(0, 2, 1, 3, 4).flatten(2, 3)
        scores = rows @ k * scale
        if alibi is not None:
            column = alibi.view(num_kv_heads, shared).repeat(1, last - first)[None, :, :, None]
            scores += column * mask.positions[:, None, None]
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        hidden = mask.hidden(first, last).repeat_interleave(shared, dim=1)
        scores.masked_fill_(hidden[:, None], -torch.inf)
        if sinks is not None:
            # (H,) by rows of a group: each row of scores gets its head's sink as a last column.
            column = sinks.view(num_kv_heads, shared).repeat(1, last - first)[None, :, :, None]
            scores = torch.cat([scores, column.expand(batch, -1, -1, -1)], dim=-1)
        weights = scores.softmax(-1)[..., : k.shape[-1]]
        if mask.group.has_blind:
            weights = weights.masked_fill(hidden.all(-1)[:, None, :, None], 0)
        attended = (weights @ v).view(batch, num_kv_heads, last - first, shared, -1)
        parts.append(attended.transpose(1, 2).flatten(2, 3))
    return torch.cat(parts, dim=1).to(q.dtype)
