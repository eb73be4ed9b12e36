"""Which model computes the next step, when several have work."""

from collections import deque
from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

QUANTUM_SECONDS = 0.05


class DeficitRoundRobin(Generic[Key]):
    """Equal shares of time among those that have work, whatever one step of each costs.

    Deficit round robin (Shreedhar and Varghese, 1995), except that a step's cost is known only
    when it is over: it is charged then, and a debt is carried into the turns that follow.
    """

    def __init__(self, quantum_seconds: float = QUANTUM_SECONDS) -> None:
        self._quantum = quantum_seconds
        self._credit: dict[Key, float] = {}
        self._ring: deque[Key] = deque()

    def add(self, key: Key) -> None:
        self._credit[key] = 0.0
        self._ring.append(key)

    def remove(self, key: Key) -> None:
        del self._credit[key]
        self._ring.remove(key)

    def choose(self, ready: Collection[Key]) -> Key:
        """Whose turn it is. `ready` are those with work: at least one, all of them added."""
        for key in self._credit.keys() - set(ready):
            self._credit[key] = min(self._credit[key], 0.0)  # no saving up while idle
        self._forgive_common_debt(ready)
        while self._ring[0] not in ready or self._credit[self._ring[0]] <= 0:
            self._ring.rotate(-1)
            if self._ring[0] in ready:
                self._credit[self._ring[0]] += self._quantum
        return self._ring[0]

    def charge(self, key: Key, seconds: float) -> None:
        """Takes a step's time from the one that used it; one removed since is ignored."""
        if key in self._credit:
            self._credit[key] -= seconds

    def _forgive_common_debt(self, ready: Collection[Key]) -> None:
        # the rounds that would pay it give everyone the same; this keeps `choose` short
        debt = -max(self._credit[key] for key in ready)
        if debt > 0:
            for key in ready:
                self._credit[key] += debt
