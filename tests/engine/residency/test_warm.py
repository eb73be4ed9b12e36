import random

import pytest

from engine.residency.warm import Kept, Warm, WarmBudget


def kept(name: str, nbytes: int, *, in_memory: bool = False) -> Kept[str]:
    return Kept(name, nbytes, is_reclaimable=not in_memory)


def test_what_is_taken_is_there_no_more():
    """It is somebody's now."""
    warm = Warm[str](WarmBudget(10, 10))
    assert warm.put("a", kept("a", 4)) == []

    assert warm.take("a") == "a"
    assert warm.take("a") is None
    assert (len(warm), warm.nbytes) == (0, 0)


def test_what_would_not_fit_alone_drives_nothing_out():
    """It goes itself."""
    warm = Warm[str](WarmBudget(10, 10))
    warm.put("a", kept("a", 4))

    assert warm.put("b", kept("b", 11)) == ["b"]
    assert warm.take("a") == "a"


def test_a_newer_one_takes_its_place():
    """One is kept for a key."""
    warm = Warm[str](WarmBudget(10, 10))
    warm.put("a", kept("old", 4))

    assert warm.put("a", kept("new", 4)) == ["old"]
    assert warm.take("a") == "new"


def test_files_stay_where_only_memory_is_short():
    """What the system can drop by itself makes no room for what it cannot."""
    warm = Warm[str](WarmBudget(100, 10))
    warm.put("file", kept("file", 50))
    warm.put("first", kept("first", 6, in_memory=True))

    assert warm.put("second", kept("second", 6, in_memory=True)) == ["first"]
    assert warm.take("file") == "file"


@pytest.mark.parametrize("seed", range(20))
def test_budgets_hold_and_nothing_is_lost(seed):
    """After every step of a random walk: each item is kept, was given back, or was taken."""
    walk, budget = random.Random(seed), WarmBudget(100, 40)
    warm, there = Warm[int](budget), dict[int, Kept[int]]()
    for number in range(200):
        if there and walk.random() < 0.3:
            taken = walk.choice(list(there))
            assert warm.take(str(taken)) == taken
            del there[taken]
        else:
            fresh = Kept(number, walk.randint(1, 60), walk.random() < 0.6)
            there[number] = fresh
            for gone in warm.put(str(number), fresh):
                del there[gone]
        in_memory = sum(each.nbytes for each in there.values() if not each.is_reclaimable)
        assert warm.nbytes == sum(each.nbytes for each in there.values()) <= budget.total_bytes
        assert in_memory <= budget.unreclaimable_bytes
        assert len(warm) == len(there)
