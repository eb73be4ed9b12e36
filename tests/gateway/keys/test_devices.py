"""Seconds of a device, shared among those who use it."""

import random

import pytest

from gateway.keys.devices import DeviceClock


def test_one_alone_has_all_of_it():
    """And what lies idle is nobody's."""
    clock = DeviceClock()
    begun = clock.begin("cpu", now=10)

    assert clock.end("cpu", begun, now=13) == 3
    assert clock.end("cpu", clock.begin("cpu", now=50), now=51) == 1


def test_two_at_once_have_half_each():
    """For as long as they are two."""
    clock = DeviceClock()
    first = clock.begin("cpu", now=0)
    second = clock.begin("cpu", now=2)

    assert clock.end("cpu", second, now=6) == 2
    assert clock.end("cpu", first, now=7) == 2 + 2 + 1


def test_devices_know_nothing_of_each_other():
    """Two models on two devices are not shared out."""
    clock = DeviceClock()
    begun = clock.begin("cpu:0", now=0), clock.begin("cpu:1", now=0)

    assert clock.end("cpu:0", begun[0], now=4) == clock.end("cpu:1", begun[1], now=4) == 4


def test_all_shares_together_are_the_time_in_use():
    """Whoever comes and goes when: nothing is counted twice, and nothing is lost."""
    for seed in range(50):
        draw = random.Random(seed)
        clock, now, inside, shares, in_use = DeviceClock(), 0.0, [], 0.0, 0.0
        for _ in range(300):
            step = draw.expovariate(1)
            now, in_use = now + step, in_use + (step if inside else 0)
            if inside and draw.random() < 0.5:
                shares += clock.end("cpu", inside.pop(draw.randrange(len(inside))), now)
            else:
                inside.append(clock.begin("cpu", now))
        shares += sum(clock.end("cpu", begun, now) for begun in inside)

        assert shares == pytest.approx(in_use)
