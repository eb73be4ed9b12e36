"""Which residents make room for a model, and what is promised to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.pool.ledger import Ledger
from gateway.pool.space import Claim, Space
from gateway.pool.state import Phase, Resident
from gateway.pool.victims import Worth, choose_victims, gain_of, last_used
from gateway.pool.wishes import Wish


class GoesAt(Protocol):
    """When a resident may go for a wish; `gateway.pool.timing.Timing` answers it."""

    def goes_at(self, resident: Resident, wish: Wish) -> float: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """By what residents are judged, at one moment."""

    timing: GoesAt
    now: float
    worth: Worth = last_used

    def can_go(self, resident: Resident, wish: Wish) -> bool:
        return self.timing.goes_at(resident, wish) <= self.now


@dataclass(frozen=True, slots=True)
class Rivals:
    """Who must go whatever room there is, since a group forbids its company; on any device.

    is_leaving: some that must go are on their way already, and not gone yet.
    """

    residents: tuple[Resident, ...] = ()
    is_leaving: bool = False


NO_RIVALS = Rivals()


class Room:
    """What the devices of a place can offer together.

    candidates: who may have to make room, wherever they are.
    """

    def __init__(
        self, spaces: Sequence[Space], candidates: Iterable[Resident], rules: Rules
    ) -> None:
        self.place = tuple(space.device for space in spaces)
        self.budget = min(space.budget for space in spaces)
        self.promised = min(space.promised for space in spaces)
        self.has_paused = any(space.has_paused for space in spaces)
        self.spaces = spaces
        self._candidates = [r for r in candidates if not set(self.place).isdisjoint(r.place)]
        self._rules = rules

    def needed_for(self, wish: Wish) -> int:
        """A plan that was wrong before still has to fit."""
        return min(wish.needed, self.budget)

    def offer(
        self, wish: Wish, rivals: Rivals = NO_RIVALS, pinned: Iterable[Resident] = ()
    ) -> Claim | None:
        """The least disturbing claim that fits here, without making it yet. Spares the pinned."""
        needed, given = self.needed_for(wish), gain_of(*rivals.residents)
        spared = {*rivals.residents, *pinned}
        candidates = [resident for resident in self._candidates if resident not in spared]
        ready = [r for r in candidates if r.is_idle and self._rules.can_go(r, wish)]
        wanted = {space: needed - given[space.device] for space in self.spaces}
        short_now = {s.device: wanted[s] - min(s.coming, s.promised) for s in self.spaces}
        short_later = {s.device: wanted[s] - s.promised for s in self.spaces}
        victims = choose_victims(ready, short_now, self._rules.worth)
        if victims is None:
            victims = choose_victims(candidates, short_later, self._rules.worth)
        if victims is None:
            return None
        victims = (*rivals.residents, *victims)
        return self._claim(wish, victims, needed, is_blocked=rivals.is_leaving)

    def _claim(
        self, wish: Wish, victims: tuple[Resident, ...], needed: int, *, is_blocked: bool
    ) -> Claim:
        gained = gain_of(*victims)
        is_clear = all(needed <= s.coming + gained[s.device] for s in self.spaces) and all(
            self._rules.can_go(v, wish) for v in victims
        )
        is_free = all(needed <= space.free for space in self.spaces)
        fits_now = is_clear and is_free and not victims and not is_blocked
        return Claim(wish, self.place, needed, victims, is_clear, fits_now)


class Spaces:
    """All devices that are up, while wishes claim room on them in their order."""

    def __init__(
        self, devices: Iterable[str], ledger: Ledger, residents: Iterable[Resident], rules: Rules
    ) -> None:
        residents = list(residents)
        self._by_device = {name: Space(name, ledger, residents) for name in devices}
        self._candidates = [r for r in residents if r.is_usable or r.phase is Phase.LOADING]
        self._rules = rules

    def rooms_for(self, wish: Wish) -> list[Room]:
        """Those of its places of which every device is up."""
        spaces = self._by_device
        places = [place for place in wish.places if all(name in spaces for name in place)]
        return [
            Room([spaces[name] for name in place], self._candidates, self._rules)
            for place in places
        ]

    def accept(self, claim: Claim) -> None:
        """Counts what it takes and what its victims give; they are nobody else's victims."""
        self._candidates = [r for r in self._candidates if r not in claim.victims]
        for space in self._by_device.values():
            space.accept(claim)


def least_disturbing(claims: Sequence[tuple[Room, Claim]]) -> Claim | None:
    """Of claims on several places; of equals, the one where most is free."""
    if not claims:
        return None
    _, claim = min(claims, key=lambda pair: (*_disturbance(pair[1]), -pair[0].promised))
    return claim


def _disturbance(claim: Claim) -> tuple[bool, int, int, int, int]:
    """Whether it waits; loads to wait for; models still open; leases to wait for; bytes to reload.

    Counting the open ones keeps a claim where it has begun to drain.
    """
    busy = [victim for victim in claim.victims if not victim.is_idle]
    return (
        not claim.is_clear,
        sum(victim.phase is Phase.LOADING for victim in busy),
        sum(victim.phase is not Phase.DRAINING for victim in busy),
        sum(len(victim.leases) for victim in busy),
        sum(victim.total_bytes for victim in claim.victims),
    )
