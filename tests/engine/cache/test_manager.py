"""The cache manager: sharing, atomic reservations, and a random walk against a simple model."""

import random

import pytest

from engine.cache.manager import CacheManager
from engine.cache.table import BlockTable


def filled(manager: CacheManager, tokens: list[int], salt: bytes = b"") -> BlockTable:
    """A table whose tokens have all been computed."""
    table = BlockTable(salt)
    assert manager.reserve(table, tokens, manager.reusable(table, tokens))
    manager.commit(table, tokens, len(tokens))
    return table


def reusable(manager: CacheManager, tokens: list[int], salt: bytes = b"") -> list[int]:
    return [*manager.reusable(BlockTable(salt), tokens).blocks]


def test_a_prompt_reuses_full_blocks_of_an_equal_beginning():
    """Full blocks are shared, a part of a block is not."""
    manager = CacheManager(8, 4)
    first = filled(manager, [*range(10)])

    assert reusable(manager, [*range(8), 99, 98]) == first.blocks[:2]
    assert reusable(manager, [*range(6), 99, 98]) == first.blocks[:1]
    assert reusable(manager, [99, *range(9)]) == []


def test_the_last_token_is_never_reused():
    """Somebody has to compute the logits that follow the prompt."""
    manager = CacheManager(8, 4)
    filled(manager, [*range(8)])

    assert len(reusable(manager, [*range(8)])) == 1


def test_other_salts_reuse_nothing():
    """A tenant cannot find out what another has asked."""
    manager = CacheManager(8, 4)
    filled(manager, [*range(9)], salt=b"one")

    assert reusable(manager, [*range(9)], b"two") == []
    assert reusable(manager, [*range(9)]) == []


def test_released_blocks_are_reused_until_overwritten():
    """A prefix outlives its sequence, and its end is given up before its beginning."""
    manager = CacheManager(4, 4)
    tokens = [*range(16)]
    manager.release(filled(manager, tokens))
    assert len(reusable(manager, [*tokens, 0])) == 4

    filled(manager, [50, 51, 52, 53])

    assert len(reusable(manager, [*tokens, 0])) == 3


def test_a_reservation_that_does_not_fit_changes_nothing():
    """All or nothing, shared blocks included."""
    manager = CacheManager(3, 4)
    manager.release(filled(manager, [*range(8)]))
    tokens = [*range(20)]
    table = BlockTable()

    assert not manager.reserve(table, tokens, manager.reusable(table, tokens))
    assert table.blocks == []
    assert manager.num_free == 3
    manager.check()


def test_only_computed_tokens_are_shared():
    """A block that is reserved but not yet written is not offered."""
    manager = CacheManager(4, 4)
    table = BlockTable()
    manager.reserve(table, [*range(9)])
    manager.commit(table, [*range(9)], 5)

    assert reusable(manager, [*range(9)]) == table.blocks[:1]


def test_spare_blocks_are_left_free():
    """A reservation can be asked to leave room."""
    manager = CacheManager(4, 4)

    assert manager.can_reserve(12, spare=1)
    assert not manager.can_reserve(12, spare=2)


def read_to(manager: CacheManager, table: BlockTable, tokens: list[int], *ends: int) -> None:
    """Steps that end at these tokens."""
    for end in ends:
        manager.commit(table, tokens, end)


def test_a_model_without_paged_layers_needs_no_blocks():
    """Its sequences are of any length, and only slots bound how many there are."""
    manager = CacheManager(0, 4, num_slots=1)
    table = BlockTable()

    assert manager.blocks_for(10**6) == 0
    assert manager.reserve(table, [1] * 1000)
    assert table.blocks == []
    assert not manager.can_reserve(1)
    manager.release(table)
    assert manager.can_reserve(1)


def test_a_chunk_ends_where_the_state_is_kept():
    """At the last block boundary before the prompt's end, if the chunk would go so far."""
    manager = CacheManager(0, 4, num_slots=2)
    table = BlockTable()
    manager.reserve(table, [*range(11)])

    assert manager.max_chunk(table, 0, 11) == 8
    assert manager.max_chunk(table, 0, 5) == 5
    assert manager.max_chunk(table, 5, 11) == 3
    assert manager.max_chunk(table, 8, 11) == 11


def test_one_slot_leaves_nothing_to_stop_for():
    """A state that could not be kept makes no chunk shorter."""
    manager = CacheManager(0, 4, num_slots=1)
    table = BlockTable()
    manager.reserve(table, [*range(11)])

    assert manager.max_chunk(table, 0, 11) == 11


def test_a_prompt_resumes_at_its_last_full_block():
    """Sent again, all but what is behind that is there."""
    manager = CacheManager(0, 4, num_slots=3)
    table, tokens = BlockTable(), [*range(11)]
    manager.reserve(table, tokens)
    read_to(manager, table, tokens, 8, 11)

    assert manager.reusable(BlockTable(), tokens).num_tokens == 8
    assert manager.reusable(BlockTable(), [*range(9), 99]).num_tokens == 8
    assert manager.reusable(BlockTable(), [*range(7), 99, 98]).num_tokens == 0
    assert manager.reusable(BlockTable(b"other"), tokens).num_tokens == 0


def test_a_shared_beginning_is_resumed_by_the_third():
    """The first cannot know where others part from it; the second keeps the state there."""
    manager = CacheManager(0, 4, num_slots=8)
    reused = []
    for number in range(3):
        table, tokens = BlockTable(), [*range(10), *[90 + number] * 5]
        prefix = manager.reusable(table, tokens)
        manager.reserve(table, tokens, prefix)
        at = prefix.num_tokens
        while at < len(tokens):
            at += manager.max_chunk(table, at, len(tokens) - at)
            manager.commit(table, tokens, at)
        manager.release(table)
        reused.append(prefix.num_tokens)

    assert reused == [0, 0, 8]


def test_what_is_generated_is_resumed_near_its_end():
    """The newest boundary, and none of those before."""
    manager = CacheManager(0, 4, num_slots=4)
    table, tokens = BlockTable(), [*range(5)]
    manager.reserve(table, tokens)
    read_to(manager, table, tokens, 4, 5)
    for token in range(5, 23):
        tokens.append(token)
        manager.reserve(table, tokens)
        manager.commit(table, tokens, len(tokens))
    manager.release(table)

    assert manager.reusable(BlockTable(), [*tokens, 99]).num_tokens == 20
    assert manager.reusable(BlockTable(), tokens[:18]).num_tokens == 4


def test_both_kinds_resume_where_both_are():
    """Blocks beyond the longest snapshot are of no use, and neither is a snapshot beyond blocks."""
    manager = CacheManager(4, 4, num_slots=4)
    table, tokens = BlockTable(), [*range(15)]
    manager.reserve(table, tokens)
    manager.commit(table, tokens, 12)
    manager.release(table)
    found = manager.reusable(BlockTable(), tokens)
    assert (found.num_tokens, len(found.blocks)) == (12, 3)
    assert manager.reusable(BlockTable(), tokens[:12]).num_tokens == 0

    filled(manager, [50] * 7)  # the last blocks make room

    assert manager.reusable(BlockTable(), tokens).num_tokens == 0


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
            table = BlockTable(salt)
            found = manager.reusable(table, tokens)
            if manager.reserve(table, tokens, found):
                for place, block in enumerate(table.blocks):
                    prefix = (*salt, -1, *tokens[: 4 * (place + 1)])
                    if place < len(found.blocks):
                        assert written[block] == prefix
                    written[block] = prefix
                manager.commit(table, tokens, len(tokens))
                running.append((table, tokens))
        manager.check()
    for table, _ in running:
        manager.release(table)

    assert manager.num_free == manager.num_blocks
