"""The stated bounds: how long anybody waits, and how much of the time goes into swapping."""

import random

import pytest

from gateway.pool.limits import PoolLimits
from tests.gateway.pool.simulation import Arrival, Simulation

WAIT = 2.0
ROUNDING = 1e-6


def hot(until: float, rate: float, rng: random.Random, longest: float) -> list[Arrival]:
    """Endless traffic for one model."""
    times = [number / rate for number in range(int(until * rate))]
    return [Arrival(time, "hot", 60, rng.uniform(0.1, longest)) for time in times]


def check_bound(simulation: Simulation, turn_seconds: float) -> None:
    """max_wait + a swap with nobody ahead; each model ahead adds at most its turn and a swap."""
    assert not simulation.refused
    assert simulation.waits.keys() == simulation.ahead.keys()
    swap = simulation.step_seconds + simulation.swap_seconds
    for place, wait in simulation.waits.items():
        bound = turn_seconds + swap + simulation.ahead[place] * (turn_seconds + swap)
        assert wait <= bound + ROUNDING, (place, wait, bound, simulation.ahead[place])


@pytest.mark.parametrize("seed", range(4))
def test_a_cold_model_is_granted_within_max_wait_a_step_and_a_swap(seed: int):
    """Even if the hot model's requests run for a minute: they are paused (invariant 3)."""
    rng = random.Random(seed)
    simulation = Simulation(PoolLimits(max_wait_seconds=WAIT, max_waiting_per_model=10_000))
    cold = [Arrival(5.0 + 20 * number, "cold", 60, 0.3) for number in range(3)]

    simulation.play([*hot(60.0, 5.0, rng, longest=60.0), *cold])

    check_bound(simulation, WAIT)
    assert simulation.pauses


@pytest.mark.parametrize("seed", range(4))
def test_without_pausing_the_longest_request_is_waited_for(seed: int):
    """max_wait + the longest request + a swap, and the same for each model ahead (invariant 3)."""
    rng = random.Random(seed)
    simulation = Simulation(PoolLimits(max_wait_seconds=WAIT, pausing=False))
    cold = [Arrival(5.0 + 12 * number, "cold", 60, 0.3) for number in range(4)]

    simulation.play([*hot(60.0, 20.0, rng, longest=3.0), *cold])

    check_bound(simulation, WAIT + 3.0)
    assert not simulation.pauses


def crowd(seed: int) -> list[Arrival]:
    rng = random.Random(seed)
    sizes = {key: rng.choice((20, 30, 50, 60, 100)) for key in "abcde"[: rng.randint(2, 5)]}
    arrivals, time = [], 0.0
    for _ in range(60):
        time += rng.expovariate(rng.choice((0.3, 3.0)))
        key = rng.choice(sorted(sizes))
        arrivals.append(Arrival(time, key, sizes[key], rng.choice((0.1, 1.0, 8.0, 40.0))))
    return arrivals


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 160))]
)
def test_nobody_waits_longer_than_stated_in_any_crowd(block: int):
    """Several models of any size, requests of any length: the bound holds for every one."""
    for seed in range(block * 10, (block + 1) * 10):
        simulation = Simulation(PoolLimits(max_wait_seconds=WAIT, wait_timeout_seconds=1e9))

        simulation.play(crowd(seed))

        check_bound(simulation, WAIT)


def test_nobody_waits_because_an_image_was_built():
    """One client in turns between two models: no model rests longer because its first load was long."""
    simulation = Simulation(PoolLimits(), load_seconds=0.02, evict_seconds=0.01, build_seconds=3.0)
    arrivals = [Arrival(5.0 * n, "ab"[n % 2], 60, 0.1) for n in range(2)]
    arrivals += [Arrival(9.0 + 0.2 * n, "ab"[n % 2], 60, 0.1) for n in range(6)]

    simulation.play(arrivals)

    assert [simulation.waits[place] > 3.0 for place in range(2)] == [True, True]
    assert max(simulation.waits[place] for place in range(2, 8)) <= simulation.swap_seconds + 1e-6


@pytest.mark.parametrize(
    ("runs_seconds", "build_seconds"), [(0.01, 0.0), (0.5, 0.0), (30.0, 0.0), (0.5, 1.0)]
)
def test_alternation_does_not_thrash(runs_seconds: float, build_seconds: float):
    """A/B/A/B at 50 requests a second: both progress, and less than half of the time is swaps.

    Images that are built once, one for each model, come on top.
    """
    limits = PoolLimits(max_wait_seconds=WAIT, max_waiting=10_000, max_waiting_per_model=10_000)
    simulation = Simulation(
        limits,
        load_seconds=0.3,
        evict_seconds=0.05,
        step_seconds=0.02,
        build_seconds=build_seconds,
    )
    count = 1500 if runs_seconds < 1 else 300  # requests of half a minute pile up
    arrivals = [Arrival(n / 50, "ab"[n % 2], 60, runs_seconds) for n in range(count)]

    simulation.play(arrivals)

    check_bound(simulation, WAIT + build_seconds)
    swapping = simulation.policy.swaps.until(30.0)["cpu"] - 2 * build_seconds
    assert runs_seconds > 1 or swapping / 30.0 < 0.5
    assert len(simulation.loads) < 120
