"""From a plan to tensors."""

from array import array
from dataclasses import replace
from itertools import accumulate, chain

import torch
from torch import Tensor

from engine.core.plan import BatchPlan, Chunk
from engine.kernels.batch import BatchLayout, ForwardBatch

_NO_SLOT = -1


def forward_batch(plan: BatchPlan, block_size: int, device: torch.device) -> ForwardBatch:
    """The plan's rows, chunk after chunk; wanted logits are those of `logit_positions`, in order."""
    chunks = plan.chunks
    starts = [0, *accumulate(chunk.num_tokens for chunk in chunks)]
    rows = (
        [token for chunk in chunks for token in chunk.token_ids],
        [place for chunk in chunks for place in range(chunk.start, chunk.end)],
        [length for chunk in chunks for length in _lengths(chunk)],
        [
            start + position - chunk.start
            for start, chunk in zip(starts, chunks, strict=False)  # the last start is the total
            for position in logit_positions(chunk)
        ],
    )
    runs = [run for chunk in chunks for run in _runs(chunk)]
    layout = (
        [0, *accumulate(run.num_tokens for run in runs)],
        [run.end for run in runs],
        _padded([_blocks(run, block_size) for run in runs]),
        [slot for chunk in chunks for slot in _slots(chunk, block_size)],
        [_slot(run.sequence.table.state_read) for run in runs],
        [_slot(run.sequence.table.state_write) for run in runs],
    )
    token_ids, positions, lengths, logit_rows, *rest = _tensors([*rows, *layout], device)
    query_starts, context_lens, block_tables, slots, state_reads, state_writes = rest
    return ForwardBatch(
        token_ids,
        positions,
        lengths,
        logit_rows,
        BatchLayout(
            query_starts,
            context_lens,
            block_tables.view(len(runs), -1),
            slots,
            state_reads,
            state_writes,
            block_size,
            longest_query=max(run.num_tokens for run in runs),
            longest_context=max(run.end for run in runs),
        ),
    )


def _tensors(lists: list[list[int]], device: torch.device) -> tuple[Tensor, ...]:
    """Each list as int64. They share one memory: a call of torch costs as much as all the values."""
    values = array("q", chain.from_iterable(lists))
    # an array's memory, taken over: ten times as fast as converting a list
    flat = torch.frombuffer(values, dtype=torch.int64).to(device)
    return torch.split_with_sizes(flat, [len(values) for values in lists])


def logit_positions(chunk: Chunk) -> list[int]:
    """Positions of a chunk whose logits are wanted: those scored, then those that sample."""
    first = chunk.end - 1 - len(chunk.draft)
    return [*chunk.scored, *(range(first, chunk.end) if chunk.samples else ())]


def _runs(chunk: Chunk) -> list[Chunk]:
    """A chunk as kernels are to see it: with a draft, each row as a sequence of its own.

    Every row is then what it would be as a decode, with equal sums, and sees the rows before it
    all the same: they are in the cache before anything is read.
    """
    if not chunk.draft:
        return [chunk]
    return [replace(chunk, start=at, end=at + 1) for at in range(chunk.start, chunk.end)]


def _lengths(chunk: Chunk) -> list[int]:
    known = len(chunk.sequence.token_ids)
    return [max(known, position + 1) for position in range(chunk.start, chunk.end)]


def _blocks(chunk: Chunk, block_size: int) -> list[int]:
    return chunk.sequence.table.blocks[: -(-chunk.end // block_size)]


def _slots(chunk: Chunk, block_size: int) -> list[int]:
    blocks = chunk.sequence.table.blocks
    if not blocks:  # nothing is kept of a token
        return [_NO_SLOT] * chunk.num_tokens
    return [
        blocks[position // block_size] * block_size + position % block_size
        for position in range(chunk.start, chunk.end)
    ]


def _slot(slot: int | None) -> int:
    return _NO_SLOT if slot is None else slot


def _padded(rows: list[list[int]]) -> list[int]:
    """Rows of one width, one after another."""
    width = max(map(len, rows))
    return [block for row in rows for block in row + [0] * (width - len(row))]
