"""Running a model on sequences of tokens without scheduler, cache manager or sampler."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.cache.spec import Both, KVDType, State, stored
from engine.cache.states import TokensAndState
from engine.cache.views import CacheSize, allocate
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.nn.decoder import CausalLM

BLOCK_SIZE = 16


def layout_of(
    num_rows: Sequence[int],
    context_lens: Sequence[int],
    tables: Tensor,
    block_size: int,
    states: Sequence[tuple[int, int]] = (),
) -> BatchLayout:
    """Sequences of so many new rows each, with so many tokens each once those are appended.

    states: the slots that each one's state is read from and written to; by default each begins, in
    a slot of its own.
    """
    starts = torch.tensor([0, *num_rows]).cumsum(0)
    slots = [
        tables[index, position // block_size] * block_size + position % block_size
        for index, (rows, length) in enumerate(zip(num_rows, context_lens, strict=True))
        for position in range(length - rows, length)
    ]
    reads, writes = zip(*(states or [(-1, index) for index in range(len(num_rows))]), strict=True)
    return BatchLayout(
        query_starts=starts,
        context_lens=torch.tensor(context_lens),
        block_tables=tables,
        slots=torch.tensor(slots),
        state_reads=torch.tensor(reads),
        state_writes=torch.tensor(writes),
        block_size=block_size,
    )


class Sequences:
    """Sequences that grow step by step, their blocks strewn over caches that begin as NaN.

    A state moves to another slot in every step, and the one that it leaves is NaN again. lengths: what each will grow to, max_tokens by default.
    """

    def __init__(
        self,
        model: CausalLM,
        count: int,
        max_tokens: int,
        dtype: torch.dtype = torch.float32,
        lengths: Sequence[int] = (),
        kv_dtype: KVDType = "auto",
    ) -> None:
        self._lengths = lengths or [max_tokens] * count
        self._model = model
        num_blocks = -(-max_tokens // BLOCK_SIZE)
        strewn = torch.randperm(count * num_blocks, generator=torch.Generator().manual_seed(7))
        self._tables = strewn.view(count, num_blocks)
        size = CacheSize(count * num_blocks, BLOCK_SIZE, num_slots=2 * count)
        specs = [stored(spec, kv_dtype) for spec in model.cache_specs]
        self.caches = [allocate(spec, size, dtype) for spec in specs]
        for cache in self.caches:
            for tensor in cache.tensors:
                # rows of q8_0 whose every bit is set have scales of NaN
                tensor.fill_(torch.nan if tensor.is_floating_point() else 255)
        self._lens = [0] * count
        self._slots = [-1] * count
        self._free_slots = list(range(2 * count))

    def step(self, chunks: Mapping[int, Sequence[int]]) -> dict[int, Tensor]:
        """Appends tokens to sequences; log-probabilities after each, (tokens, vocab), by sequence."""
        batch = self.batch(chunks)
        logprobs = self._model.forward(batch, self.caches).log_softmax(-1)
        self._spoil(batch.layout.state_reads)
        parts = logprobs.split([len(chunk) for chunk in chunks.values()])
        return dict(zip(chunks, parts, strict=True))

    def batch(self, chunks: Mapping[int, Sequence[int]]) -> ForwardBatch:
        """The input that appends tokens to sequences, with logits wanted of every row."""
        positions: list[int] = []
        for index, chunk in chunks.items():
            positions += range(self._lens[index], self._lens[index] + len(chunk))
            self._lens[index] += len(chunk)
        layout = layout_of(
            [len(chunk) for chunk in chunks.values()],
            [self._lens[index] for index in chunks],
            self._tables[list(chunks)],
            BLOCK_SIZE,
            [self._moved(index) for index in chunks],
        )
        token_ids = torch.tensor([token for chunk in chunks.values() for token in chunk])
        lengths = [self._lengths[index] for index, chunk in chunks.items() for _ in chunk]
        rows = torch.arange(len(token_ids))
        return ForwardBatch(token_ids, torch.tensor(positions), torch.tensor(lengths), rows, layout)

    def _moved(self, index: int) -> tuple[int, int]:
        """Where the sequence's state is, and where it goes."""
        read, self._slots[index] = self._slots[index], self._free_slots.pop(0)
        if read >= 0:
            self._free_slots.append(read)
        return read, self._slots[index]

    def _spoil(self, slots: Tensor) -> None:
        left = slots[slots >= 0]
        for spec, cache in zip(self._model.cache_specs, self.caches, strict=True):
            if isinstance(spec, Both | State):
                state = cache.state if isinstance(cache, TokensAndState) else cache
                for tensor in state.tensors:
                    tensor[left] = torch.nan


def logprobs_of(
    model: CausalLM,
    token_ids: Sequence[int],
    dtype: torch.dtype = torch.float32,
    kv_dtype: KVDType = "auto",
) -> Tensor:
    """Log-probabilities after each token of one sequence in one step: (tokens, vocab)."""
    return Sequences(model, 1, len(token_ids), dtype, kv_dtype=kv_dtype).step({0: token_ids})[0]
