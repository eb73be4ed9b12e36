"""Running a model on sequences of tokens without scheduler, cache manager or sampler."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.cache.views import allocate
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.nn.decoder import CausalLM

BLOCK_SIZE = 16


def layout_of(
    num_rows: Sequence[int], context_lens: Sequence[int], tables: Tensor, block_size: int
) -> BatchLayout:
    """Sequences of so many new rows each, with so many tokens each once those are appended."""
    starts = torch.tensor([0, *num_rows]).cumsum(0)
    slots = [
        tables[index, position // block_size] * block_size + position % block_size
        for index, (rows, length) in enumerate(zip(num_rows, context_lens, strict=True))
        for position in range(length - rows, length)
    ]
    return BatchLayout(starts, torch.tensor(context_lens), tables, torch.tensor(slots), block_size)


class Sequences:
    """Sequences that grow step by step, their blocks strewn over caches that begin as NaN.

    lengths: what each will grow to, max_tokens by default.
    """

    def __init__(
        self,
        model: CausalLM,
        count: int,
        max_tokens: int,
        dtype: torch.dtype = torch.float32,
        lengths: Sequence[int] = (),
    ) -> None:
        self._lengths = lengths or [max_tokens] * count
        self._model = model
        num_blocks = -(-max_tokens // BLOCK_SIZE)
        strewn = torch.randperm(count * num_blocks, generator=torch.Generator().manual_seed(7))
        self._tables = strewn.view(count, num_blocks)
        self.caches = [
            allocate(spec, count * num_blocks, BLOCK_SIZE, dtype) for spec in model.cache_specs
        ]
        for cache in self.caches:
            for tensor in cache.tensors:
                tensor.fill_(torch.nan)
        self._lens = [0] * count

    def step(self, chunks: Mapping[int, Sequence[int]]) -> dict[int, Tensor]:
        """Appends tokens to sequences; log-probabilities after each, (tokens, vocab), by sequence."""
        logprobs = self._model.forward(self.batch(chunks), self.caches).log_softmax(-1)
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
        )
        token_ids = torch.tensor([token for chunk in chunks.values() for token in chunk])
        lengths = [self._lengths[index] for index, chunk in chunks.items() for _ in chunk]
        rows = torch.arange(len(token_ids))
        return ForwardBatch(token_ids, torch.tensor(positions), torch.tensor(lengths), rows, layout)


def logprobs_of(
    model: CausalLM, token_ids: Sequence[int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Log-probabilities after each token of one sequence in one step: (tokens, vocab)."""
    return Sequences(model, 1, len(token_ids), dtype).step({0: token_ids})[0]
