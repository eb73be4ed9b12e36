"""Batches over paged caches for kernels and their references: strewn blocks, shared ones, filled-up rows."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.kernels.batch import BatchLayout

BATCHES = {
    "decodes": ([1, 1, 1], [1, 37, 16]),
    "one prompt": ([21], [21]),
    "a later chunk": ([9], [50]),
    "a mixture": ([1, 13, 0, 1, 5], [40, 13, 7, 1, 21]),
}
"""By name, how many rows each sequence has in the step, and how many tokens with them."""


def layout_of(
    num_rows: Sequence[int],
    lengths: Sequence[int],
    *,
    block_size: int = 16,
    shared_blocks: int = 0,
    is_bounded: bool = True,
    filled_up: int = 0,
) -> BatchLayout:
    """Of so many rows and tokens.

    shared_blocks: that all sequences begin with. filled_up: sequences of one row each that are none,
    behind the others. is_bounded: says how long they are at most, and no less than it must.
    """
    generator = torch.Generator().manual_seed(len(num_rows) + sum(lengths))
    width = max(-(-length // block_size) for length in lengths) + 1
    count = len(num_rows) * width
    tables = torch.randperm(count, generator=generator).view(len(num_rows), width) + 1
    tables[:, :shared_blocks] = tables[0, :shared_blocks]
    for table, length in zip(tables, lengths, strict=True):
        table[-(-length // block_size) :] = 0
    slots = [
        int(table[position // block_size]) * block_size + position % block_size
        for table, rows, length in zip(tables, num_rows, lengths, strict=True)
        for position in range(length - rows, length)
    ]
    num_rows, lengths = [*num_rows, *[1] * filled_up], [*lengths, *[0] * filled_up]
    none = torch.full((len(num_rows),), -1)
    return BatchLayout(
        query_starts=torch.tensor([0, *num_rows]).cumsum(0),
        context_lens=torch.tensor(lengths),
        block_tables=torch.cat([tables, tables.new_zeros(filled_up, width)]),
        slots=torch.tensor([*slots, *[-1] * filled_up]),
        state_reads=none,
        state_writes=none,
        block_size=block_size,
        longest_query=max(num_rows) if is_bounded else 0,
        longest_context=max(lengths) if is_bounded else 0,
    )


def unbounded(layout: BatchLayout) -> BatchLayout:
    return replace(layout, longest_query=0, longest_context=0)


def slots_of(layout: BatchLayout, sequence: int) -> Tensor:
    """Where a sequence's tokens lie."""
    positions = torch.arange(int(layout.context_lens[sequence]))
    blocks = layout.block_tables[sequence, positions // layout.block_size]
    return blocks * layout.block_size + positions % layout.block_size


def cache_of(
    layout: BatchLayout, *shape: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Tensor:
    """(blocks, block_size, *shape): random where a sequence's tokens lie, NaN everywhere else."""
    num_blocks = int(layout.block_tables.max()) + 2
    cache = torch.full((num_blocks * layout.block_size, *shape), torch.nan)
    generator = torch.Generator().manual_seed(seed)
    for sequence in range(len(layout.context_lens)):
        slots = slots_of(layout, sequence)
        cache[slots] = torch.randn(len(slots), *shape, generator=generator)
    return cache.to(dtype).view(num_blocks, layout.block_size, *shape)


def randn(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
