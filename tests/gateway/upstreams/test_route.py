"""Where a request goes next, alone and in thousands of histories."""

import math
import random

import pytest

from gateway.upstreams.breaker import MAX_REST_SECONDS, Breaker
from gateway.upstreams.route import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    Ask,
    Candidate,
    GiveUp,
    Route,
    Verdict,
)


def make_route(*retries: int) -> Route:
    return Route([Candidate(count, Breaker(5)) for count in retries], lambda: 1.0)


def places(route: Route, verdict: Verdict) -> list[int]:
    """Where it goes if every attempt ends so."""
    gone = []
    while isinstance(step := route.next(0), Ask):
        gone.append(step.place)
        route.failed(verdict)
    return gone


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("again", [0, 0, 0, 1]), ("elsewhere", [0, 1]), ("final", [0])],
)
def test_a_verdict_says_who_is_next(verdict: Verdict, expected: list[int]):
    """What may pass is tried again, what will not elsewhere, and what is the client's nowhere."""
    assert places(make_route(2, 0), verdict) == expected


def test_pauses_grow_before_the_same_server_alone():
    """Twice as long each time, half of it by chance; the next server is asked at once."""
    route, pauses = make_route(2, 0), []
    while isinstance(step := route.next(0), Ask):
        pauses.append(step.pause_seconds)
        route.failed("again")

    assert pauses == [0, FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 0]


def test_those_that_rest_are_passed_over():
    """Nobody waits for a server that is left alone while there is another."""
    tired = Breaker(5)
    tired.rest(0, 7, tired.begin(0))
    route = Route([Candidate(2, tired), Candidate(0, Breaker(5))], lambda: 0.0)
    assert route.next(0) == Ask(1)

    only = Route([Candidate(2, tired)], lambda: 0.0)
    assert only.next(0) == GiveUp(7)


class World:
    """Requests at servers that fail as chance has it, many under way at once."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.candidates = [
            Candidate(self.chance.randrange(4), Breaker(self.chance.uniform(0.5, 9)))
            for _ in range(self.chance.randrange(1, 5))
        ]
        self.now = 0.0
        self.waiting: list[tuple[Route, list[int]]] = []
        self.asking: list[tuple[Route, list[int], int]] = []

    def step(self) -> None:
        self.now += self.chance.expovariate(2)
        if self.asking and self.chance.random() < 0.5:
            self.end(*self.asking.pop(self.chance.randrange(len(self.asking))))
        elif self.waiting and self.chance.random() < 0.7:
            self.ask(*self.waiting.pop(self.chance.randrange(len(self.waiting))))
        else:
            self.waiting.append((Route(self.candidates, self.chance.random), []))

    def ask(self, route: Route, asked: list[int]) -> None:
        step = route.next(self.now)
        if isinstance(step, GiveUp):
            assert 0 <= step.seconds < math.inf
            return
        candidate = self.candidates[step.place]
        assert not candidate.breaker.wait_seconds(self.now), "one that rests is asked"
        assert 0 <= step.pause_seconds <= MAX_PAUSE_SECONDS
        asked.append(step.place)
        assert asked == sorted(asked), "the order is the file's"
        assert asked.count(step.place) <= 1 + candidate.retries
        self.asking.append((route, asked, candidate.breaker.begin(self.now)))

    def end(self, route: Route, asked: list[int], request: int) -> None:
        breaker = self.candidates[asked[-1]].breaker
        outcome = self.chance.choice(["well", "left", "again", "elsewhere", "final", "busy"])
        if outcome == "well":
            breaker.succeed()
        elif outcome == "left":
            breaker.leave(request)
        elif outcome == "busy":
            breaker.rest(self.now, self.chance.uniform(0.1, 200), request)
            route.failed("elsewhere")
            self.waiting.append((route, asked))
        else:
            breaker.fail(self.now, request)
            route.failed(outcome)
            self.waiting.append((route, asked))


@pytest.mark.parametrize("seed", range(40))
def test_histories(seed: int):
    """Whatever fails and whenever, nobody who rests is asked, and nobody rests for ever."""
    world = World(seed)
    for _ in range(400):
        world.step()

    while world.asking:
        world.end(*world.asking.pop())
    waits = [each.breaker.wait_seconds(world.now) for each in world.candidates]
    assert max(waits) <= MAX_REST_SECONDS
