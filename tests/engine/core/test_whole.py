"""Texts that are read in one step: who is with whom, and that all of them get there."""

import random

from engine.cache.manager import CacheManager
from engine.core.sequence import Sequence
from engine.core.whole import WholeScheduler
from engine.models.limits import HOST


def scheduler_of(*lengths: int) -> WholeScheduler:
    scheduler = WholeScheduler(CacheManager(0, 16))
    for number, length in enumerate(lengths):
        scheduler.add(Sequence([1] * length, max_tokens=1, number=number))
    return scheduler


def steps(scheduler: WholeScheduler, budget: int) -> list[list[int]]:
    """The lengths of each step's texts."""
    found = []
    while not scheduler.is_idle:
        plan = scheduler.schedule(budget)
        assert all(chunk.num_tokens == len(chunk.sequence.token_ids) for chunk in plan.chunks)
        found.append([chunk.num_tokens for chunk in plan.chunks])
        scheduler.complete(plan, {})
        scheduler.check()
    return found


def test_as_many_as_the_budget_allows():
    """In order of arrival; one that does not fit is the next step's first."""
    assert steps(scheduler_of(8, 11, 1, 20, 3), budget=20) == [[8, 11, 1], [20], [3]]


def test_one_is_always_read():
    """Beyond the budget, since it cannot be read in parts; and then nothing else is."""
    assert steps(scheduler_of(1, 50, 1), budget=20) == [[1], [50], [1]]


def test_no_step_is_over_the_budget_but_by_one_text():
    """Whatever comes, a step is a budget or a single text, and everybody has their turn."""
    rng = random.Random(4)
    lengths = [rng.choice([1, 1, 2, 7, 30, 90]) for _ in range(200)]
    found = steps(scheduler_of(*lengths), budget=64)

    assert [length for step in found for length in step] == lengths
    assert all(sum(step) <= 64 or len(step) == 1 for step in found)
    assert max(map(len, found)) <= HOST.sequences


def test_one_that_was_stopped_is_not_read():
    """Its client has left."""
    scheduler = scheduler_of(4, 5)
    scheduler.remove(next(iter(scheduler)))

    assert steps(scheduler, budget=64) == [[5]]
