"""Which residents make room for a cold model, and what is promised to whom."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.pool.ledger import Ledger
from gateway.pool.state import Model, Phase, Resident


@dataclass(frozen=True, slots=True)
class Claim:
    """A cold model's right to room on a device, once its victims are gone.

    is_clear: the victims can be evicted now, and then nothing but evictions stands in the way.
    fits_now: nothing stands in the way at all.
    """

    model: Model
    device: str
    victims: tuple[Resident, ...]
    is_clear: bool
    fits_now: bool


class Space:
    """What one device can offer while cold models claim room on it, in their order.

    An earlier claim's bytes are never offered to a later one, so a small model may slip into what
    is left over but never delays one that waits longer. `free` is there now, `coming` once all
    evictions are through, `promised` once all claims so far have had their way.
    """

    def __init__(self, device: str, ledger: Ledger, residents: Iterable[Resident]) -> None:
        here = [resident for resident in residents if resident.device == device]
        self.device = device
        self.free = ledger.free(device)
        self.coming = self.free + sum(r.placement.bytes for r in here if r.is_leaving)
        self.promised = self.coming
        self._candidates = [r for r in here if not r.is_leaving]

    def offer(self, model: Model, *, may_close: bool) -> Claim | None:
        """The least disturbing claim that fits the model here, without making it yet."""
        needed = model.fit.placement.bytes
        idle = filter(is_idle, self._candidates)
        victims = choose_victims(idle, needed - min(self.coming, self.promised))
        if victims is not None:
            fits_now = not victims and needed <= self.free
            return Claim(model, self.device, victims, is_clear=True, fits_now=fits_now)
        if not may_close:
            return None
        victims = choose_victims(self._candidates, needed - self.promised)
        if victims is None:
            return None
        return Claim(model, self.device, victims, is_clear=False, fits_now=False)

    def accept(self, claim: Claim) -> None:
        gained = sum(victim.placement.bytes for victim in claim.victims)
        needed = claim.model.fit.placement.bytes
        self.promised += gained - needed
        self.coming += gained - needed if claim.is_clear else 0
        self.free -= needed if claim.fits_now else 0
        self._candidates = [r for r in self._candidates if r not in claim.victims]


def claim_room(spaces: Sequence[Space], model: Model, *, may_close: bool) -> Claim | None:
    """Claims room on the device where that disturbs least; of equals, where most is free."""
    offers = [(space, space.offer(model, may_close=may_close)) for space in spaces]
    possible = [(space, claim) for space, claim in offers if claim is not None]
    if not possible:
        return None
    space, claim = min(possible, key=lambda pair: (*_disturbance(pair[1]), -pair[0].promised))
    space.accept(claim)
    return claim


def choose_victims(candidates: Iterable[Resident], shortage: int) -> tuple[Resident, ...] | None:
    """The fewest residents worth `shortage` bytes, least recently used first; None if too few.

    Idle ones come first, then those being drained already, then busy ones, and at last those still
    loading, whose waiters have their turn before they are closed.
    """
    ranked = sorted(candidates, key=_reluctance)
    chosen: list[Resident] = []
    for resident in ranked:
        if shortage <= 0:
            break
        chosen.append(resident)
        shortage -= resident.placement.bytes
    if shortage > 0:
        return None
    for resident in reversed(tuple(chosen)):  # a later, larger one may have made some superfluous
        if shortage + resident.placement.bytes <= 0:
            chosen.remove(resident)
            shortage += resident.placement.bytes
    return tuple(chosen)


def is_idle(resident: Resident) -> bool:
    return resident.is_usable and not resident.leases


def _reluctance(resident: Resident) -> tuple[bool, bool, bool, float]:
    return (
        resident.phase is Phase.LOADING,
        bool(resident.leases),
        bool(resident.leases) and resident.phase is not Phase.DRAINING,
        resident.last_used,
    )


def _disturbance(claim: Claim) -> tuple[int, int, int]:
    """Models to be closed that are still open, then leases to wait for, then bytes to reload.

    The first keeps a claim where it has begun to drain.
    """
    busy = [victim for victim in claim.victims if not is_idle(victim)]
    return (
        sum(victim.phase is not Phase.DRAINING for victim in busy),
        sum(len(victim.leases) for victim in busy),
        sum(victim.placement.bytes for victim in claim.victims),
    )
