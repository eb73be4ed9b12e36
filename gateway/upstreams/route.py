"""Which upstream a request asks next."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.upstreams.breaker import Breaker

Verdict = Literal["again", "elsewhere", "final"]
"""Of a failure. again: it may pass. elsewhere: not here. final: nobody would answer otherwise."""

FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 4.0


@dataclass(frozen=True)
class Candidate:
    """A server that has the model. retries: how often it is asked again."""

    retries: int
    breaker: Breaker


@dataclass(frozen=True)
class Ask:
    """Ask the candidate at this place, after a pause."""

    place: int
    pause_seconds: float = 0.0


@dataclass(frozen=True)
class GiveUp:
    """There is nobody to ask; of those who were not, the first may be after so many seconds."""

    seconds: float


class Route:
    """One request's way along the servers that have its model. No clock, no I/O.

    jitter: a number from 0 to 1 each time, so that those who failed together do not return together.
    """

    def __init__(self, candidates: Sequence[Candidate], jitter: Callable[[], float]) -> None:
        self._candidates = candidates
        self._jitter = jitter
        self._place = 0
        self._num_failures = 0
        self._is_final = False

    def next(self, now: float) -> Ask | GiveUp:
        """What `failed` led to. Whoever asks tells the candidate's breaker so, and how it went."""
        if self._is_final:
            return GiveUp(0.0)
        for place in range(self._place, len(self._candidates)):
            if not self._candidates[place].breaker.wait_seconds(now):
                self._enter(place)
                return Ask(place, self._pause())
        return GiveUp(self._least_wait(now))

    def failed(self, verdict: Verdict) -> None:
        """The attempt at the candidate that was asked last."""
        self._num_failures += 1
        if verdict == "final":
            self._is_final = True
        elif verdict == "elsewhere" or self._num_failures > self._candidates[self._place].retries:
            self._place += 1
            self._num_failures = 0

    def _enter(self, place: int) -> None:
        if place != self._place:
            self._place, self._num_failures = place, 0

    def _pause(self) -> float:
        if not self._num_failures:
            return 0.0
        whole: float = min(FIRST_PAUSE_SECONDS * 2 ** (self._num_failures - 1), MAX_PAUSE_SECONDS)
        return whole * (1 + self._jitter()) / 2

    def _least_wait(self, now: float) -> float:
        waits = [candidate.breaker.wait_seconds(now) for candidate in self._candidates]
        known = [seconds for seconds in waits if seconds < math.inf]
        return min(known, default=1.0)
