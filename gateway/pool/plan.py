"""What a request for a model would bring about, worked out without doing it."""

import math
from dataclasses import dataclass
from typing import Literal

from engine.api import Form
from gateway.pool.actions import CannotFit, CannotLoad, OnlyPinnedLeft, Refusal
from gateway.pool.claims import Claims
from gateway.pool.place import Place, name_of
from gateway.pool.space import Claim
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.timing import Timing
from gateway.pool.victims import reload_seconds
from gateway.pool.wishes import Wish

Way = Literal["evict", "drain", "pause", "load_first"]
"""At once; when its requests have ended; between two tokens; after the turn that it loads for."""


@dataclass(frozen=True, slots=True)
class PlannedVictim:
    """wait_seconds: until it may go, if only time stands in the way; else None."""

    model: str
    id: str
    device: str
    bytes: int
    leases: int
    idle_seconds: float | None
    way: Way
    wait_seconds: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A dry run. `reasons` says the same for people.

    device: of several, their names with a + between. bytes: on all of them together.
    ahead: models that wait for room already. expected_seconds: None where nobody can know.
    """

    model: str
    is_loaded: bool = False
    device: str | None = None
    form: Form | None = None
    bytes: int = 0
    kv_tokens: int = 0
    state_slots: int = 0
    victims: tuple[PlannedVictim, ...] = ()
    ahead: int = 0
    expected_seconds: float | None = None
    refusal: Refusal | None = None

    @property
    def waits_for(self) -> int:
        """Leases that have to end or be paused first."""
        return sum(victim.leases for victim in self.victims)

    @property
    def reasons(self) -> tuple[str, ...]:
        if self.refusal is not None:
            return (_refusal_in_words(self.refusal),)
        if self.is_loaded:
            return (f"{self.model} is loaded on {self.device} already",)
        if self.device is None:
            return (
                f"there is no room before the {self.ahead} models that wait already have had it",
            )
        place = f"{self.bytes} bytes on {self.device} as {self.form}, {self.kv_tokens} tokens"
        return (f"needs {place}", *(_victim_in_words(victim) for victim in self.victims))


def plan_of(
    wish: Wish,
    known: Model | None,
    claims: Claims,
    *,
    models: dict[str, Model],
    timing: Timing,
    now: float,
) -> Plan:
    """The plan for a wish that comes after all others. `known`: what stands of the model now."""
    resident = known.resident if known is not None else None
    plan = _Planner(wish, models, timing, now)
    if resident is not None and resident.phase is not Phase.EVICTING:
        is_loaded = resident.is_usable
        num_bytes = resident.needed * len(resident.place)
        seconds = 0.0 if is_loaded else reload_seconds(wish.model, num_bytes)
        return plan.of(resident.place, num_bytes, is_loaded=is_loaded, seconds=seconds)
    refusal: Refusal | None = claims.pinned_in_the_way(wish)
    if refusal is None and known is not None:
        refusal = known.trouble.refusal(now)
    if refusal is not None:
        return Plan(wish.model.key, refusal=refusal)
    claim = claims.look(wish)
    if claim is None:
        return plan.of((), wish.model.fit.total_bytes, ahead=len(claims.accepted))
    return plan.of_claim(claim, ahead=len(claims.accepted))


@dataclass(frozen=True, slots=True)
class _Planner:
    wish: Wish
    models: dict[str, Model]
    timing: Timing
    now: float

    def of(
        self,
        place: Place,
        num_bytes: int,
        *,
        is_loaded: bool = False,
        victims: tuple[PlannedVictim, ...] = (),
        ahead: int = 0,
        seconds: float | None = None,
    ) -> Plan:
        placement = self.wish.model.fit.placement
        return Plan(
            self.wish.model.key,
            is_loaded=is_loaded,
            device=name_of(place) or None,
            form=placement.form,
            bytes=num_bytes,
            kv_tokens=placement.kv_tokens,
            state_slots=placement.state_slots,
            victims=victims,
            ahead=ahead,
            expected_seconds=seconds,
        )

    def of_claim(self, claim: Claim, ahead: int) -> Plan:
        victims = tuple(map(self._victim, claim.victims))
        waits = [victim.wait_seconds for victim in victims]
        known = [wait for wait in waits if wait is not None]
        num_bytes = claim.needed * len(claim.place)
        seconds: float | None = None
        if len(known) == len(waits):
            load = reload_seconds(self.wish.model, num_bytes)
            seconds = max(known, default=0.0) + load
        return self.of(claim.place, num_bytes, victims=victims, ahead=ahead, seconds=seconds)

    def _victim(self, victim: Resident) -> PlannedVictim:
        goes_at = self.timing.goes_at(victim, self.wish)
        wait = max(0.0, goes_at - self.now) if goes_at < math.inf else None
        idle_seconds = None if victim.leases else max(0.0, self.now - victim.last_used)
        return PlannedVictim(
            victim.model,
            self.models[victim.model].id,
            name_of(victim.place),
            victim.total_bytes,
            len(victim.leases),
            idle_seconds,
            self._way(victim),
            wait,
        )

    def _way(self, victim: Resident) -> Way:
        if victim.phase is Phase.LOADING:
            return "load_first"
        if not victim.leases:
            return "evict"
        return "pause" if self.timing.can_pause(self.wish) else "drain"


def _victim_in_words(victim: PlannedVictim) -> str:
    match victim.way:
        case "evict":
            what = f"evicts {victim.id}, idle for {victim.idle_seconds or 0.0:.1f} s"
        case "pause":
            what = f"pauses {victim.id}, used by {victim.leases} requests"
        case "drain":
            what = f"waits for the {victim.leases} requests that use {victim.id}, then evicts it"
        case "load_first":
            what = f"waits for {victim.id}, which is being loaded"
    when = f", in {victim.wait_seconds:.1f} s" if victim.wait_seconds else ""
    return f"{what} ({victim.bytes} bytes on {victim.device}){when}"


def _refusal_in_words(refusal: Refusal) -> str:
    match refusal:
        case CannotFit(needed, available):
            return f"needs {needed} bytes, there are {available} at most"
        case OnlyPinnedLeft(needed, available):
            return f"needs {needed} bytes, only {available} are not taken by pinned models"
        case CannotLoad(_, message, seconds):
            return f"failed before, and is not tried again for {seconds:.1f} s: {message}"
        case _:
            return "would be refused"
