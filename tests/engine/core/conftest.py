"""A model small enough to follow by hand, and a real tiny one."""

from collections.abc import Sequence as Many
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.cache.caches import Caches
from engine.cache.manager import CacheManager
from engine.cache.paged_kv import PagedKV
from engine.core.resident import BLOCK_SIZE, Resident
from engine.kernels.batch import ForwardBatch
from engine.nn.model import Traits

LLAMA = Path(__file__).parents[2] / "fixtures/llama-plain"


class Counting:
    """After token t it is certain of t + 1. It breaks where it reads a token it was told to.

    poison: its logits there are NaN. trap: the whole forward raises.
    """

    def __init__(self, vocab_size: int = 32) -> None:
        self.vocab_size = vocab_size
        self.length_switch: int | None = None
        self.traits = Traits()
        self.poison: int | None = None
        self.trap: dict[int, Exception] = {}
        self.batches: list[ForwardBatch] = []

    def forward(self, batch: ForwardBatch, caches: Many[PagedKV]) -> Tensor:
        self.batches.append(batch)
        for token_id in batch.token_ids.tolist():
            if token_id in self.trap:
                raise self.trap[token_id]
        read = batch.token_ids[batch.logit_rows]
        logits = torch.full((len(read), self.vocab_size), -10.0)
        logits[torch.arange(len(read)), (read + 1) % self.vocab_size] = 10.0
        if self.poison is not None:
            logits[read == self.poison] = torch.nan
        return logits


def empty_caches(num_blocks: int) -> Caches:
    """Of a model whose layers keep nothing, though tokens are counted."""
    return Caches([], CacheManager(num_blocks, BLOCK_SIZE))


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def resident(counting: Counting) -> Resident:
    return Resident(counting, empty_caches(8))


@pytest.fixture(scope="session")
def llama() -> Path:
    """The folder of a tiny Llama with its reference results."""
    return LLAMA
