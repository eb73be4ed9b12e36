"""What each device has left while wishes claim room, in their order."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.pool.ledger import Ledger
from gateway.pool.place import Place
from gateway.pool.state import Phase, Resident
from gateway.pool.victims import gain_of
from gateway.pool.wishes import Wish


@dataclass(frozen=True, slots=True)
class Claim:
    """A wish's right to room in a place, once its victims are gone.

    needed: bytes on each device of the place. is_clear: the victims can go now, and then nothing
    but their going stands in the way. fits_now: nothing stands in the way at all.
    """

    wish: Wish
    place: Place
    needed: int
    victims: tuple[Resident, ...]
    is_clear: bool
    fits_now: bool


class Space:
    """What one device has left while wishes claim room on it, in their order.

    An earlier claim's bytes are never offered to a later one, so a small model may slip into what
    is left over but never delays one that waits longer. `free` is there now, `coming` once all that
    is leaving has left, `promised` once all claims so far have had their way.
    """

    def __init__(self, device: str, ledger: Ledger, residents: Iterable[Resident]) -> None:
        here = [resident for resident in residents if device in resident.place]
        self.device = device
        self.budget = ledger.budget(device)
        self.free = ledger.free(device)
        self.coming = self.free + sum(r.bytes for r in here if r.is_leaving)
        self.promised = self.coming
        self.has_paused = any(r.phase in {Phase.PAUSED, Phase.PAUSING} for r in here)

    def accept(self, claim: Claim) -> None:
        """Takes what a claim is promised here, and adds what its victims give back here."""
        gained = gain_of(*claim.victims)[self.device]
        needed = claim.needed if self.device in claim.place else 0
        self.promised += gained - needed
        self.coming += gained - needed if claim.is_clear else 0
        # what is free now is its own as soon as only leaving ones stand in the way: else a later
        # claim could take it in exchange for bytes that come later
        self.free -= needed if claim.is_clear else 0
