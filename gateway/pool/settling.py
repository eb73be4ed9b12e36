"""What follows from any event: who is granted, evicted, paused, loaded or refused next."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.api import Device
from gateway.pool.actions import Action, EvictReason
from gateway.pool.claims import Claims
from gateway.pool.groups import Group, Groups
from gateway.pool.limits import PoolLimits
from gateway.pool.requests import Requests
from gateway.pool.residents import Residents
from gateway.pool.room import Rules
from gateway.pool.space import Claim
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.terms import Terms
from gateway.pool.timing import SwapClock, Timing
from gateway.pool.victims import Worth, cost_aware, last_used
from gateway.pool.wishes import wishes_of


class Settling:
    """The policy's state, and how it comes to rest after an event. `Policy` adds the events.

    settled_at: the time of the last event.
    """

    def __init__(
        self, devices: Sequence[Device], limits: PoolLimits, groups: Sequence[Group] = ()
    ) -> None:
        self.devices = devices
        self.limits = limits
        self.models: dict[str, Model] = {}
        self.pins: dict[str, bool] = {}
        self.down: set[str] = set()
        self.settled_at = 0.0
        self.timing = Timing(limits)
        self.swaps = SwapClock(device.name for device in devices)
        self._groups = Groups(groups)
        self._actions: list[Action] = []
        self.requests = Requests(self.models, limits, self._actions.append)
        self.book = Residents(devices, self.models, self._actions.append)
        self.residents = self.book.by_handle
        self.ledger = self.book.ledger

    def regroup(self, groups: Sequence[Group]) -> None:
        """Takes effect with the next event."""
        self._groups = Groups(groups)

    def retune(self, limits: PoolLimits) -> None:
        """Takes effect with the next event."""
        self.limits = limits
        self.timing = Timing(limits)
        self.requests.retune(limits)

    def settle(self, now: float) -> list[Action]:
        self.settled_at = now
        self.swaps.advance(now)
        self.requests.expire(now)
        self._cancel_unwanted_loads()
        self.requests.grant(now)  # before room is made, so that a load serves who waited for it
        self._see_off(now)
        self._forget_room()
        claims = self.claims(now, refuses=True).accepted
        for claim in claims:
            self._pursue(claim, now)
        self._reopen({victim for claim in claims for victim in claim.victims})
        self.requests.grant(now)
        swapping = [r for r in self.residents.values() if _is_swapping(r)]
        self.swaps.note(device for r in swapping for device in r.place)
        actions = list(self._actions)
        self._actions.clear()
        return actions

    def claims(self, now: float, *, refuses: bool = False) -> Claims:
        """Room for all that is wished for, longest waiting first.

        refuses: those whom only pinned models keep out are told so.
        """
        up = [device.name for device in self.devices if device.name not in self.down]
        rules = Rules(self.timing, now, self._worth(now))
        claims = Claims(up, self.ledger, self.models, groups=self._groups, rules=rules)
        for wish in wishes_of(self.models.values()):
            refusal = claims.pinned_in_the_way(wish)
            if refusal is None:
                claims.claim(wish)
            elif refuses:
                self.requests.reject_waiters(wish.model, refusal)
        return claims

    def deadlines(self) -> Iterable[float]:
        """Moments at which time alone may change something, past ones among them."""
        for model in self.models.values():
            for waiter in model.waiters.values():
                yield waiter.since + self.limits.wait_timeout_seconds
            yield self.expiry(model)
        usable = [r for r in self.residents.values() if r.is_usable]
        for wish in wishes_of(self.models.values()):
            for resident in usable:
                yield self.timing.closes_at(resident, wish)
                yield self.timing.goes_at(resident, wish)

    # --- steps ----------------------------------------------------------------------------------

    def _cancel_unwanted_loads(self) -> None:
        for resident in self.residents.values():
            is_wanted = bool(resident.leases or self.models[resident.model].waiters)
            if resident.phase is Phase.LOADING and (resident.is_void or not is_wanted):
                self.book.cancel(resident)

    def _see_off(self, now: float) -> None:
        """Evicts what nobody uses any more and has a reason to go other than room."""
        for resident in list(self.residents.values()):
            if resident.farewell is not None:
                self.book.close(resident, "")
            reason = self._parting(resident, now)
            if reason is not None:
                self.book.evict(resident, "", reason)
        for device in self.devices:
            self._correct(device.name)

    def _parting(self, resident: Resident, now: float) -> EvictReason | None:
        if resident.leases:
            return None
        if resident.phase is Phase.PAUSED:
            return resident.farewell or "abandoned"
        if not resident.is_usable:
            return None
        if resident.farewell is not None:
            return resident.farewell
        return "expired" if self.expiry(self.models[resident.model]) <= now else None

    def _correct(self, device: str) -> None:
        """Where a load took more than planned, idle models go until all fits again."""
        here = [r for r in self.residents.values() if device in r.place and r.bytes]
        excess = -self.ledger.free(device) - sum(r.bytes for r in here if r.is_leaving)
        idle = [r for r in here if r.is_idle and not self.models[r.model].terms.pinned]
        for resident in sorted(idle, key=lambda r: r.last_used):
            if excess > 0 and len(here) > 1:  # one that is too large by itself has nobody to spare
                self.book.evict(resident, "", "correction")
                excess -= resident.bytes

    def _forget_room(self) -> None:
        """Room made for those who do not want it any more is nobody's swap."""
        for model in self.models.values():
            if model.resident is None and not model.waiters:
                model.room_since = None

    def _pursue(self, claim: Claim, now: float) -> None:
        """Loads what fits now, lets go what can go, closes what is due.

        Victims go together: while one drains, the others stay, to be reopened if the claim ends.
        """
        wish = claim.wish
        if claim.fits_now:
            self.book.load(claim, now)
        elif claim.is_clear:
            if claim.victims and wish.model.room_since is None:
                wish.model.room_since = now
            for victim in claim.victims:
                self._let_go(victim, wish.model.key, now)
        else:
            for victim in claim.victims:
                if self.timing.closes_at(victim, wish) <= now:
                    self.book.close(victim, wish.model.key)

    def _let_go(self, victim: Resident, newcomer: str, now: float) -> None:
        if victim.leases:
            self.book.pause(victim, newcomer, now)
        else:
            self.book.evict(victim, newcomer, "room")

    def _reopen(self, claimed: set[Resident]) -> None:
        for resident in self.residents.values():
            is_closed = resident.phase is Phase.DRAINING and resident.farewell is None
            if is_closed and resident not in claimed:
                self.book.reopen(resident)

    # --- helpers --------------------------------------------------------------------------------

    def expiry(self, model: Model) -> float:
        """When the model is evicted if nobody uses it; inf: it is in use, or only for room."""
        resident = model.resident
        if resident is None or not resident.is_idle or model.terms.pinned:
            return math.inf
        if model.keep_alive_seconds is None:
            return math.inf
        return resident.last_used + model.keep_alive_seconds

    def _worth(self, now: float) -> Worth:
        return cost_aware(self.models, now) if self.limits.victims == "cost" else last_used

    def _with_pin(self, key: str, terms: Terms) -> Terms:
        """The terms, with what an administrator said since."""
        return replace(terms, pinned=self.pins.get(key, terms.pinned))


def _is_swapping(resident: Resident) -> bool:
    return resident.is_leaving or resident.phase is Phase.LOADING
