"""Which residents make room for a model, and what is promised to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.pool.ledger import Ledger
from gateway.pool.state import Phase, Resident
from gateway.pool.victims import Worth, choose_victims, last_used
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
class Claim:
    """A wish's right to room on a device, once its victims are gone.

    is_clear: the victims can go now, and then nothing but their going stands in the way.
    fits_now: nothing stands in the way at all.
    """

    wish: Wish
    device: str
    victims: tuple[Resident, ...]
    is_clear: bool
    fits_now: bool


@dataclass(frozen=True, slots=True)
class Rivals:
    """Who must go whatever room there is, since a group forbids its company; on any device.

    is_leaving: some that must go are on their way already, and not gone yet.
    """

    residents: tuple[Resident, ...] = ()
    is_leaving: bool = False


NO_RIVALS = Rivals()


class Space:
    """What one device can offer while wishes claim room on it, in their order.

    An earlier claim's bytes are never offered to a later one, so a small model may slip into what
    is left over but never delays one that waits longer. `free` is there now, `coming` once all that
    is leaving has left, `promised` once all claims so far have had their way.
    """

    def __init__(
        self, device: str, ledger: Ledger, residents: Iterable[Resident], rules: Rules
    ) -> None:
        here = [resident for resident in residents if resident.device == device]
        self.device = device
        self.budget = ledger.budget(device)
        self.free = ledger.free(device)
        self.coming = self.free + sum(r.bytes for r in here if r.is_leaving)
        self.promised = self.coming
        self.has_paused = any(r.phase in {Phase.PAUSED, Phase.PAUSING} for r in here)
        self._candidates = [r for r in here if r.is_usable or r.phase is Phase.LOADING]
        self._rules = rules

    def offer(
        self, wish: Wish, rivals: Rivals = NO_RIVALS, pinned: Iterable[Resident] = ()
    ) -> Claim | None:
        """The least disturbing claim that fits here, without making it yet. Spares the pinned."""
        needed = min(wish.needed, self.budget)  # a plan that was wrong before still has to fit
        given = sum(rival.bytes for rival in rivals.residents if rival.device == self.device)
        spared = {*rivals.residents, *pinned}
        candidates = [resident for resident in self._candidates if resident not in spared]
        ready = [r for r in candidates if r.is_idle and self._rules.can_go(r, wish)]
        shortage = needed - given - min(self.coming, self.promised)
        victims = choose_victims(ready, shortage, self._rules.worth)
        if victims is None:
            victims = choose_victims(candidates, needed - given - self.promised, self._rules.worth)
        if victims is None:
            return None
        victims = (*rivals.residents, *victims)
        return self._claim(wish, victims, needed, is_blocked=rivals.is_leaving)

    def accept(self, claim: Claim) -> None:
        """Takes what a claim is promised here, and adds what its victims give back here."""
        gained = sum(v.bytes for v in claim.victims if v.device == self.device)
        needed = min(claim.wish.needed, self.budget) if claim.device == self.device else 0
        self.promised += gained - needed
        self.coming += gained - needed if claim.is_clear else 0
        self.free -= needed if claim.fits_now else 0
        self._candidates = [r for r in self._candidates if r not in claim.victims]

    def _claim(
        self, wish: Wish, victims: tuple[Resident, ...], needed: int, *, is_blocked: bool
    ) -> Claim:
        gained = sum(victim.bytes for victim in victims if victim.device == self.device)
        is_clear = needed <= self.coming + gained and all(
            self._rules.can_go(v, wish) for v in victims
        )
        fits_now = is_clear and not victims and not is_blocked and needed <= self.free
        return Claim(wish, self.device, victims, is_clear, fits_now)


def least_disturbing(claims: Sequence[tuple[Space, Claim]]) -> Claim | None:
    """Of claims on several devices; of equals, the one where most is free."""
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
        sum(victim.bytes for victim in claim.victims),
    )
