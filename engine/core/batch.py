"""From a plan to tensors."""

from array import array
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
        [token for chunk in chunks for token in _tokens(chunk)],
        [place for chunk in chunks for place in range(chunk.start, chunk.end)],
        [len(chunk.sequence.token_ids) for chunk in chunks for _ in range(chunk.num_tokens)],
        [
            start + position - chunk.start
            for start, chunk in zip(starts, chunks, strict=False)  # the last start is the total
            for position in logit_positions(chunk)
        ],
    )
    layout = (
        starts,
        [chunk.end for chunk in chunks],
        _padded([_blocks(chunk, block_size) for chunk in chunks]),
        [slot for chunk in chunks for slot in _slots(chunk, block_size)],
        [_slot(chunk.sequence.table.state_read) for chunk in chunks],
        [_slot(chunk.sequence.table.state_write) for chunk in chunks],
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
            block_tables.view(len(chunks), -1),
            slots,
            state_reads,
            state_writes,
            block_size,
        ),
    )


def _tensors(lists: list[list[int]], device: torch.device) -> tuple[Tensor, ...]:
    """Each list as int64. They share one memory: a call of torch costs as much as all the values."""
    values = array("q", chain.from_iterable(lists))
    # an array's memory, taken over: ten times as fast as converting a list
    flat = torch.frombuffer(values, dtype=torch.int64).to(device)
    return torch.split_with_sizes(flat, [len(values) for values in lists])


def logit_positions(chunk: Chunk) -> list[int]:
    """Positions of a chunk whose logits are wanted: those scored, then the one that samples."""
    return [*chunk.scored, *([chunk.end - 1] if chunk.samples else [])]


def _tokens(chunk: Chunk) -> list[int]:
    return chunk.sequence.token_ids[chunk.start : chunk.end]


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
