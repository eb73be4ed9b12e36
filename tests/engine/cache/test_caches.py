"""A model's caches as a whole: what of their memory must stay, and what goes back."""

import psutil
import pytest
import torch

from engine.cache.caches import Caches
from engine.cache.spec import KV, State
from engine.cache.table import BlockTable
from engine.cache.views import CacheSize

MIB = 2**20
BLOCK_SIZE = 16


def written(num_blocks: int, num_used: int) -> tuple[Caches, BlockTable]:
    """Caches of 1 MiB blocks, of which a prompt's `num_used` are full and kept under a name."""
    specs = [KV(8, 1024)] * 2 + [State({"s": (512, 512)})]
    caches = Caches.of(specs, CacheSize(num_blocks, BLOCK_SIZE, 4), torch.float32)
    table, prompt = BlockTable(), [5] * (num_used * BLOCK_SIZE)
    assert caches.manager.reserve(table, prompt)
    for view in caches.views:
        for tensor in view.tensors:
            tensor.fill_(1)  # each block and slot, as if all had been used at some time
    caches.manager.commit(table, prompt, len(prompt), goes_on=False)
    return caches, table


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


def test_what_is_blank_is_given_back_and_the_rest_is_counted():
    """The process shrinks by all blank blocks and slots, and what it counts is what stays."""
    caches, table = written(num_blocks=40, num_used=10)
    caches.manager.release(table)
    total = caches.token_bytes + caches.state_bytes
    before = resident_bytes()
    counted = caches.trim()
    given = before - resident_bytes()

    used = 10 * 2 * MIB + 1 * MIB  # blocks of two layers, and a state
    assert used <= counted <= used + 8 * 2**13
    assert given == pytest.approx(total - counted, rel=0.05)


def test_what_is_kept_is_not_touched():
    """Blocks with a name, and those that a paused sequence holds, are as they were."""
    caches, table = written(num_blocks=12, num_used=5)
    caches.trim()

    blocks = torch.tensor(table.blocks)
    for view in caches.views[:2]:
        for tensor in view.tensors:
            assert bool((tensor[blocks] == 1).all())
            assert float(tensor.sum()) < tensor.numel(), "nothing was given back"


def test_what_is_discarded_is_given_back_at_once():
    """While the tensors are still there: dropping them is nothing then."""
    caches, _ = written(num_blocks=40, num_used=10)
    total = caches.token_bytes + caches.state_bytes
    before = resident_bytes()
    caches.discard()

    assert before - resident_bytes() == pytest.approx(total, rel=0.05)
