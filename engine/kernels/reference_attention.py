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
from engine.kernels.registry import register

SCORES_BYTES = 16 * 2**20
GATHER_TOKENS = 8192


@register("cache_write")
def cache_write(k: Tensor, v: Tensor, keys: Tensor, values: Tensor, layout: BatchLayout) -> None:
    keys.flatten(0, 1).index_copy_(0, layout.slots, k)
    values.flatten(0, 1).index_copy_(0, layout.slots, v)


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
) -> Tensor:
    result = q.new_empty(*q.shape[:2], values.shape[3])
    for group in _groups(layout):
        rows = q[group.first_row : group.last_row].view(-1, group.num_rows, *q.shape[1:])
        blocks, start = _visible_blocks(group, layout, window)
        k = keys[blocks].flatten(1, 2).float()
        v = values[blocks].flatten(1, 2).float()
        positions = start[:, None] + torch.arange(k.shape[1], device=k.device)
        # What lies past a sequence's end belongs to another, and 0 * nan would let it through.
        v.masked_fill_((positions >= group.context_lens[:, None])[..., None, None], 0)
        attended = _attend(
            rows, k, v, _Mask(group, positions, window), scale=scale, softcap=softcap
        )
        result[group.first_row : group.last_row] = attended.flatten(0, 1)
    return result


@dataclass(frozen=True, slots=True)
class _Group:
    """Sequences first_sequence.. of num_rows rows each, one after the other."""

    first_sequence: int
    first_row: int
    last_row: int
    num_rows: int
    context_lens: Tensor
    longest: int


def _groups(layout: BatchLayout) -> Iterator[_Group]:
    starts, lens = layout.query_starts.tolist(), layout.context_lens.tolist()
    first = 0
    while first < len(lens):
        num_rows = starts[first + 1] - starts[first]
        last, longest = first + 1, lens[first]
        while num_rows == 1 and last < len(lens) and starts[last + 1] - starts[last] == 1:
            if max(longest, lens[last]) * (last + 1 - first) > GATHER_TOKENS:
                break
            longest = max(longest, lens[last])
            last += 1
        context_lens = layout.context_lens[first:last]
        yield _Group(first, starts[first], starts[last], num_rows, context_lens, longest)
        first = last


def _visible_blocks(
    group: _Group, layout: BatchLayout, window: int | None
) -> tuple[Tensor, Tensor]:
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
class _Mask:
    group: _Group
    positions: Tensor
    window: int | None

    def hidden(self, first: int, last: int) -> Tensor:
        """Which keys the rows first..last of each sequence must not see: (B, rows, L)."""
        rows = torch.arange(first, last, device=self.positions.device)
        row_positions = self.group.context_lens[:, None] - self.group.num_rows + rows
        distance = row_positions[:, :, None] - self.positions[:, None]
        hidden = distance < 0
        return hidden if self.window is None else hidden | (distance >= self.window)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: _Mask, *, scale: float, softcap: float | None
) -> Tensor:
    """q: (B, t, H, d), k: (B, L, Hkv, d), v: (B, L, Hkv, e), float32; gives (B, t, H, e)."""
    batch, num_rows, num_heads, head_dim = q.shape
    num_kv_heads, shared = k.shape[2], num_heads // k.shape[2]
    grouped = q.float().view(batch, num_rows, num_kv_heads, shared, head_dim)
    k, v = k.permute(0, 2, 3, 1), v.transpose(1, 2)
    step = max(1, SCORES_BYTES // (4 * batch * num_heads * k.shape[-1]))
    parts = []
    for first in range(0, num_rows, step):
        last = min(first + step, num_rows)
        # Heads of a group are rows of one product: broadcasting would copy k for each of them.
        rows = grouped[:, first:last].permute(0, 2, 1, 3, 4).flatten(2, 3)
        scores = rows @ k * scale
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        hidden = mask.hidden(first, last).repeat_interleave(shared, dim=1)
        scores.masked_fill_(hidden[:, None], -torch.inf)
        attended = (scores.softmax(-1) @ v).view(batch, num_kv_heads, last - first, shared, -1)
        parts.append(attended.transpose(1, 2).flatten(2, 3))
    return torch.cat(parts, dim=1).to(q.dtype)
