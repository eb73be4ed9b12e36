import math

from gateway.upstreams.breaker import MAX_FAILURES, MAX_REST_SECONDS, Breaker


def fail_once(breaker: Breaker, now: float) -> bool:
    return breaker.fail(now, breaker.begin(now))


def resting(breaker: Breaker, now: float = 0.0) -> Breaker:
    for _ in range(MAX_FAILURES):
        fail_once(breaker, now)
    return breaker


def test_rests_after_failures_in_a_row():
    """So many failures in a row and no fewer, and a success between them starts the count anew."""
    breaker = Breaker(5)
    for _ in range(MAX_FAILURES - 1):
        fail_once(breaker, 0)
    breaker.begin(0)
    breaker.succeed()
    rests = [fail_once(breaker, 0) for _ in range(MAX_FAILURES)]

    assert rests == [False] * (MAX_FAILURES - 1) + [True]
    assert breaker.wait_seconds(0) == 5


def test_one_finds_out():
    """After a rest one request goes, and the others wait for what comes of it."""
    breaker = resting(Breaker(5))
    breaker.begin(5)
    assert breaker.wait_seconds(5) == math.inf

    breaker.succeed()
    breaker.begin(5)
    assert not breaker.wait_seconds(5)


def test_each_rest_is_longer():
    """A probe that fails doubles the rest, up to a bound."""
    breaker, now, rests = resting(Breaker(5)), 0.0, []
    for _ in range(8):
        now += breaker.wait_seconds(now)
        fail_once(breaker, now)
        rests.append(breaker.wait_seconds(now))

    assert rests[:3] == [10, 20, 40]
    assert max(rests) == MAX_REST_SECONDS


def test_a_probe_that_left_is_followed_by_another():
    """A client that goes away does not leave the server untried for ever."""
    breaker = resting(Breaker(5))
    breaker.leave(breaker.begin(5))

    assert not breaker.wait_seconds(5)


def test_late_failures_add_nothing():
    """What began before the rest and fails in it makes it no longer, and ends no probe."""
    breaker = Breaker(5)
    late = breaker.begin(0)
    resting(breaker)
    assert not breaker.fail(1, late)
    assert breaker.wait_seconds(1) == 4

    breaker.begin(5)
    assert not breaker.fail(5, late)
    assert breaker.wait_seconds(5) == math.inf


def test_rests_as_long_as_it_asks():
    """Retry-After is honoured, within a bound."""
    breaker = Breaker(5)
    breaker.rest(0, 30, breaker.begin(0))
    assert breaker.wait_seconds(10) == 20

    breaker.rest(10, 1e9, 1)
    assert breaker.wait_seconds(10) == MAX_REST_SECONDS
