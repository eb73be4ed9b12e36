"""From a plan to tensors."""

from array import array
from itertools import accumulate

import torch
from torch import Tensor

from engine.core.plan import BatchPlan, Chunk
from engine.kernels.batch import BatchLayout, ForwardBatch

_NO_SLOT = -1


def forward_batch(plan: BatchPlan, block_size: int, device: torch.device) -> ForwardBatch:
    """The plan's rows, chunk after chunk; wanted logits are those of `logit_positions`, in order."""

    def tensor(values: list[int]) -> Tensor:
        if not values:
            return torch.empty(0, dtype=torch.int64, device=device)
        # an array's memory, taken over: ten times as fast as converting a list
        return torch.frombuffer(array("q", values), dtype=torch.int64).to(device)

    chunks = plan.chunks
    tables = [_blocks(chunk, block_size) for chunk in chunks]
    starts = [0, *accumulate(chunk.num_tokens for chunk in chunks)]
    layout = BatchLayout(
        query_starts=tensor(starts),
        context_lens=tensor([chunk.end for chunk in chunks]),
        block_tables=tensor(_padded(tables)).view(len(chunks), -1),
        slots=tensor([slot for chunk in chunks for slot in _slots(chunk, block_size)]),
        state_reads=tensor([_slot(chunk.sequence.table.state_read) for chunk in chunks]),
        state_writes=tensor([_slot(chunk.sequence.table.state_write) for chunk in chunks]),
        block_size=block_size,
    )
    return ForwardBatch(
        token_ids=tensor([token for chunk in chunks for token in _tokens(chunk)]),
        positions=tensor([place for chunk in chunks for place in range(chunk.start, chunk.end)]),
        lengths=tensor(
            [len(chunk.sequence.token_ids) for chunk in chunks for _ in range(chunk.num_tokens)]
        ),
        logit_rows=tensor(
            [
                start + position - chunk.start
                for start, chunk in zip(starts, chunks, strict=False)  # the last start is the total
                for position in logit_positions(chunk)
            ]
        ),
        layout=layout,
    )


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
