"""Rates: what a minute brings, and never more at once."""

import random

from gateway.keys.bucket import Bucket


def test_a_minutes_worth_may_go_at_once_and_comes_back_evenly():
    """After it, one comes back every minute's sixtieth part."""
    bucket = Bucket(60, now=0)
    bucket.take(60, now=0)

    assert bucket.wait_seconds(1, now=0) == 1
    assert bucket.wait_seconds(1, now=1) == 0
    assert bucket.level(now=1000) == 60


def test_what_is_overdrawn_is_paid_back_first():
    """A request that cost three minutes' worth is waited for as long."""
    bucket = Bucket(60, now=0)
    bucket.take(60 * 3, now=0)

    assert bucket.wait_seconds(1, now=0) == 121


def test_more_than_fits_is_never_waited_for():
    """Nobody waits for ever for an amount that the bucket cannot hold."""
    assert Bucket(10, now=0).wait_seconds(11, now=0) == 0


def test_another_rate_forgives_nothing():
    """What was taken stays taken when an operator changes the limit."""
    bucket = Bucket(10, now=0)
    bucket.take(10, now=0)
    bucket.resize(20, now=0)

    assert bucket.level(now=0) == 10


def test_no_window_of_a_minute_gives_more_than_two():
    """Whatever the pace: a full bucket and a minute's refill, as all token buckets have it."""
    for seed in range(50):
        draw = random.Random(seed)
        bucket, now, taken = Bucket(20, now=0), 0.0, []
        for _ in range(400):
            now += draw.expovariate(1)
            if not bucket.wait_seconds(1, now):
                bucket.take(1, now)
                taken.append(now)
            assert -1e-9 <= bucket.level(now) <= 20
            assert sum(now - 60 < at for at in taken) <= 40
        assert len(taken) <= 20 + now / 60 * 20
