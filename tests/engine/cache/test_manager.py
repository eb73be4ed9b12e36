"""The cache manager: sharing, atomic reservations, and a random walk against a simple model."""

import random

import pytest

from engine.cache.manager import BlockTable, CacheManager


def filled(manager: CacheManager, tokens: list[int], salt: bytes = b"") -> BlockTable:
    """A table whose tokens have all been computed."""
    table = BlockTable(salt)
    assert manager.reserve(table, len(tokens), manager.reusable(tokens, salt))
    manager.commit(table, tokens, len(tokens))
    return table


def test_a_prompt_reuses_full_blocks_of_an_equal_beginning():
    """Full blocks are shared, a part of a block is not."""
    manager = CacheManager(8, 4)
    first = filled(manager, [*range(10)])

    assert manager.reusable([*range(8), 99, 98]) == first.blocks[:2]
    assert manager.reusable([*range(6), 99, 98]) == first.blocks[:1]
    assert manager.reusable([99, *range(9)]) == []


def test_the_last_token_is_never_reused():
    """Somebody has to compute the logits that follow the prompt."""
    manager = CacheManager(8, 4)
    filled(manager, [*range(8)])

    assert len(manager.reusable([*range(8)])) == 1


def test_other_salts_reuse_nothing():
    """A tenant cannot find out what another has asked."""
    manager = CacheManager(8, 4)
    filled(manager, [*range(9)], salt=b"one")

    assert manager.reusable([*range(9)], b"two") == []
    assert manager.reusable([*range(9)]) == []


def test_released_blocks_are_reused_until_overwritten():
    """A prefix outlives its sequence, and its end is given up before its beginning."""
    manager = CacheManager(4, 4)
    tokens = [*range(16)]
    manager.release(filled(manager, tokens))
    assert len(manager.reusable([*tokens, 0])) == 4

    filled(manager, [50, 51, 52, 53])

    assert len(manager.reusable([*tokens, 0])) == 3


def test_a_reservation_that_does_not_fit_changes_nothing():
    """All or nothing, shared blocks included."""
    manager = CacheManager(3, 4)
    manager.release(filled(manager, [*range(8)]))
    tokens = [*range(20)]
    table = BlockTable()

    assert not manager.reserve(table, len(tokens), manager.reusable(tokens))
    assert table.blocks == []
    assert manager.num_free == 3
    manager.check()


def test_only_computed_tokens_are_shared():
    """A block that is reserved but not yet written is not offered."""
    manager = CacheManager(4, 4)
    table = BlockTable()
    manager.reserve(table, 9)
    manager.commit(table, [*range(9)], 5)

    assert manager.reusable([*range(9)]) == table.blocks[:1]


def test_spare_blocks_are_left_free():
    """A reservation can be asked to leave room."""
    manager = CacheManager(4, 4)

    assert manager.can_reserve(12, spare=1)
    assert not manager.can_reserve(12, spare=2)


@pytest.mark.parametrize("seed", range(25))
def test_random_walk_shares_only_what_is_equal(seed):
    """Whoever reuses a block finds in it exactly the tokens that it would have written."""
    rng = random.Random(seed)
    manager = CacheManager(rng.randint(2, 16), 4)
    written: dict[int, tuple[int, ...]] = {}  # what the tensors would hold: block -> whole prefix
    running: list[tuple[BlockTable, list[int]]] = []
    for _ in range(300):
        if rng.random() < 0.5 and running:
            table, _ = running.pop(rng.randrange(len(running)))
            manager.release(table)
        else:
            tokens = [rng.randrange(2) for _ in range(rng.randint(1, 24))]
            salt = rng.choice([b"", b"a"])
            table, shared = BlockTable(salt), manager.reusable(tokens, salt)
            if manager.reserve(table, len(tokens), shared):
                for place, block in enumerate(table.blocks):
                    prefix = (*salt, -1, *tokens[: 4 * (place + 1)])
                    if place < len(shared):
                        assert written[block] == prefix
                    written[block] = prefix
                manager.commit(table, tokens, len(tokens))
                running.append((table, tokens))
        manager.check()
    for table, _ in running:
        manager.release(table)

    assert manager.num_free == manager.num_blocks
