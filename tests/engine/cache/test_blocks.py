"""The block pool: counts, reuse order, and nothing lost over a random walk."""

import random

import pytest

from engine.cache.blocks import BlockPool


def test_blank_blocks_go_before_kept_ones():
    """What is worth keeping is overwritten last, the longest unused first."""
    evicted: list[int] = []
    pool = BlockPool(3, evicted.append)
    first, second, third = (pool.take() for _ in range(3))
    pool.release(second, keep=True)
    pool.release(first, keep=True)
    pool.release(third, keep=False)

    assert [pool.take() for _ in range(3)] == [third, second, first]
    assert evicted == [second, first]


def test_a_shared_block_is_free_after_its_last_release():
    """A block lives as long as anyone holds it."""
    pool = BlockPool(1, lambda _: None)
    block = pool.take()
    pool.share(block)
    pool.release(block, keep=False)

    assert pool.num_free == 0
    pool.release(block, keep=False)
    assert pool.num_free == 1


def test_a_kept_block_can_be_held_again():
    """Sharing a kept block saves it from eviction."""
    pool = BlockPool(2, lambda _: pytest.fail("evicted a held block"))
    block = pool.take()
    pool.release(block, keep=True)
    pool.share(block)

    assert pool.take() != block
    assert pool.num_free == 0


def test_check_finds_a_lost_hold():
    """A hold that nobody owns up to is a leak."""
    pool = BlockPool(2, lambda _: None)
    pool.take()

    with pytest.raises(AssertionError):
        pool.check([])


@pytest.mark.parametrize("seed", range(20))
def test_random_walk_loses_no_block(seed):
    """Whatever the order of takes, shares and releases, every block is accounted for."""
    rng = random.Random(seed)
    pool = BlockPool(rng.randint(1, 12), lambda _: None)
    held: list[int] = []
    kept: set[int] = set()
    for _ in range(400):
        action = rng.random()
        if action < 0.4 and pool.num_free:
            block = pool.take()
            assert block not in held
            kept.discard(block)
            held.append(block)
        elif action < 0.6 and (held or kept):
            block = rng.choice([*held, *kept])
            pool.share(block)
            kept.discard(block)
            held.append(block)
        elif held:
            block = held.pop(rng.randrange(len(held)))
            keep = rng.random() < 0.5
            pool.release(block, keep)
            if keep and block not in held:
                kept.add(block)
        pool.check(held)
        assert pool.num_free == pool.num_blocks - len(set(held))


def test_a_kept_block_can_be_given_up():
    """What is known to be of no use goes before anything kept, and is not evicted."""
    evicted: list[int] = []
    pool = BlockPool(2, evicted.append)
    first, second = pool.take(), pool.take()
    pool.release(first, keep=True)
    pool.release(second, keep=True)
    pool.blank(second)

    assert pool.take() == second
    assert evicted == []
