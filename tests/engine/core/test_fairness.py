"""Turns between models: equal time whatever a step costs, and no saving up."""

import random
from collections import Counter

import pytest

from engine.core.fairness import DeficitRoundRobin


def turns_of(*keys: str) -> DeficitRoundRobin[str]:
    turns: DeficitRoundRobin[str] = DeficitRoundRobin(quantum_seconds=0.05)
    for key in keys:
        turns.add(key)
    return turns


def spend(turns: DeficitRoundRobin[str], ready: list[str], cost: dict[str, float], steps: int):
    """Seconds that each key got."""
    spent: Counter[str] = Counter()
    for _ in range(steps):
        key = turns.choose(ready)
        turns.charge(key, cost[key])
        spent[key] += cost[key]
    return spent


def test_time_is_shared_though_steps_cost_unequally():
    """A model of long steps takes fewer of them."""
    spent = spend(turns_of("big", "small"), ["big", "small"], {"big": 0.4, "small": 0.01}, 2000)

    assert spent["big"] == pytest.approx(spent["small"], rel=0.1)


def test_one_that_is_alone_gets_every_turn():
    """Nobody waits for models without work."""
    turns = turns_of("a", "b")

    assert spend(turns, ["a"], {"a": 1.0}, 50)["a"] == pytest.approx(50)


def test_idle_time_is_not_saved_up():
    """One that returns from a pause does not shut the others out for as long."""
    turns = turns_of("a", "b")
    spend(turns, ["a"], {"a": 0.02}, 1000)
    spent = spend(turns, ["a", "b"], {"a": 0.02, "b": 0.02}, 100)

    assert spent["a"] == pytest.approx(spent["b"], rel=0.2)


def test_time_used_alone_is_not_held_against_anyone():
    """One that ran alone for an hour is not shut out when a second comes."""
    turns = turns_of("a")
    spend(turns, ["a"], {"a": 10.0}, 100)
    turns.add("b")
    spent = spend(turns, ["a", "b"], {"a": 0.02, "b": 0.02}, 1200)

    assert spent["a"] == pytest.approx(spent["b"], abs=10.2)


def test_a_removed_model_can_still_be_charged():
    """A model may leave in the very step that is then charged to it."""
    turns = turns_of("a", "b")
    turns.remove("a")
    turns.charge("a", 1.0)

    assert turns.choose(["b"]) == "b"


@pytest.mark.parametrize("seed", range(20))
def test_nobody_with_work_waits_long(seed):
    """While everyone has work, the time of any two never differs by more than a few steps."""
    rng = random.Random(seed)
    keys = [*"abcd"[: rng.randint(2, 4)]]
    turns = turns_of(*keys)
    longest = 0.5
    spent: Counter[str] = Counter(dict.fromkeys(keys, 0))
    for _ in range(500):
        key = turns.choose(keys)
        seconds = rng.uniform(0.001, longest)
        turns.charge(key, seconds)
        spent[key] += seconds
        assert max(spent.values()) - min(spent.values()) < 2 * (longest + 0.05)
