"""When a resident may be closed, paused or evicted, and how long devices were busy swapping."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.pool.limits import PoolLimits
from gateway.pool.state import Resident
from gateway.pool.wishes import Wish


@dataclass(frozen=True, slots=True)
class Timing:
    """No thrash, and nobody starves: the two sides of how long a turn lasts.

    A turn is never shorter than `dwell_factor` times the swap before it, nor longer than
    `max_wait_seconds` if others wait. What was loaded for somebody who came later than the wish, in
    room that was left over, has no such right against it.
    """

    limits: PoolLimits

    def goes_at(self, resident: Resident, wish: Wish) -> float:
        """From when on the resident may be evicted, or paused if it is busy; inf: not by time."""
        if not resident.is_usable:
            return math.inf
        patience = wish.since + self.limits.max_wait_seconds
        if resident.is_idle:
            spared = resident.usable_since + self._recovery(resident)
            return min(spared, patience) if self._overtook(resident, wish) else spared
        if not self.can_pause(wish):
            return math.inf
        return max(patience, self._dwell_end(resident, wish))

    def closes_at(self, resident: Resident, wish: Wish) -> float:
        """From when on the resident takes no new leases, if it has to go."""
        if not resident.is_usable:
            return math.inf
        limits = self.limits
        drain = min(limits.drain_seconds, limits.max_wait_seconds) if self.can_pause(wish) else 0.0
        patience = wish.since + limits.max_wait_seconds
        return max(patience - drain, self._dwell_end(resident, wish))

    def can_pause(self, wish: Wish) -> bool:
        """A pinned newcomer might never give the room back, so it pauses nobody."""
        return self.limits.pausing and wish.may_pause and not wish.is_pinned

    def dwell(self, resident: Resident) -> float:
        """Seconds of use that a busy model gets at least."""
        limits = self.limits
        dwell = max(limits.min_dwell_seconds, self._recovery(resident))
        return min(dwell, limits.max_wait_seconds)

    def _recovery(self, resident: Resident) -> float:
        limits = self.limits
        return min(limits.dwell_factor * resident.swap_seconds, limits.max_wait_seconds)

    def _dwell_end(self, resident: Resident, wish: Wish) -> float:
        if self._overtook(resident, wish):
            return -math.inf
        return resident.usable_since + self.dwell(resident)

    @staticmethod
    def _overtook(resident: Resident, wish: Wish) -> bool:
        return wish.since < resident.claimed_since


class SwapClock:
    """Seconds in which a device had something coming or going: the price of sharing it."""

    def __init__(self, devices: Iterable[str], now: float = 0.0) -> None:
        self.seconds = dict.fromkeys(devices, 0.0)
        self._busy: frozenset[str] = frozenset()
        self._now = now

    def advance(self, now: float) -> None:
        self.seconds = self.until(now)
        self._now = now

    def until(self, now: float) -> dict[str, float]:
        """The seconds so far, what is going on included."""
        ongoing = max(0.0, now - self._now)
        return {
            name: seconds + (ongoing if name in self._busy else 0.0)
            for name, seconds in self.seconds.items()
        }

    def note(self, swapping: Iterable[str]) -> None:
        """Which devices are swapping from now on."""
        self._busy = frozenset(swapping)
