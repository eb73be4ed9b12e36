"""The steps of a resident's life. Each says its action and keeps the ledger."""

from collections.abc import Callable, Sequence

from engine.api import Device
from gateway.pool.actions import (
    Action,
    CancelLoad,
    Close,
    Evict,
    EvictReason,
    Load,
    Pause,
    Reopen,
)
from gateway.pool.ledger import Ledger
from gateway.pool.place import Place
from gateway.pool.space import Claim
from gateway.pool.state import Model, Phase, Resident


class Residents:
    """What is on the devices, by handle. Which step comes when is for the policy to say."""

    def __init__(
        self, devices: Sequence[Device], models: dict[str, Model], say: Callable[[Action], None]
    ) -> None:
        self.by_handle: dict[int, Resident] = {}
        self.ledger = Ledger(devices)
        self._models = models
        self._say = say
        self._last_handle = 0

    def load(self, claim: Claim, now: float) -> None:
        """A cold model gets a new handle; a paused one comes back under its own."""
        wish = claim.wish
        resident = wish.paused or self._new(wish.model, claim.place, now)
        resident.bytes = resident.needed = claim.needed
        resident.phase = Phase.LOADING
        resident.claimed_since = wish.since
        model = wish.model
        resident.swap_since = now if model.room_since is None else model.room_since
        model.room_since = None
        self.ledger.hold(claim.place, resident.handle, resident.bytes)
        placement = resident.placement
        self._say(
            Load(
                resident.handle,
                model.key,
                claim.place,
                placement.form,
                placement.kv_tokens,
                resident.bytes,
                placement.state_slots,
                resumes=wish.paused is not None,
            )
        )

    def loaded(
        self, resident: Resident, used_bytes: int | None, once_seconds: float, now: float
    ) -> None:
        """once_seconds: of the swap, for what the next one will not do again."""
        resident.phase = Phase.READY
        resident.last_used = resident.usable_since = now
        resident.swap_seconds = max(0.0, now - resident.swap_since - once_seconds)
        if used_bytes is not None:
            resident.bytes = resident.needed = used_bytes
            self.ledger.correct(resident.place, resident.handle, used_bytes)

    def cancel(self, resident: Resident) -> None:
        resident.phase = Phase.CANCELLING
        self._say(CancelLoad(resident.handle, resident.model))

    def close(self, resident: Resident, newcomer: str) -> None:
        if resident.phase is Phase.READY:
            resident.phase = Phase.DRAINING
            self._say(Close(resident.handle, resident.model, newcomer, len(resident.leases)))

    def reopen(self, resident: Resident) -> None:
        resident.phase = Phase.READY
        self._say(Reopen(resident.handle, resident.model))

    def pause(self, resident: Resident, newcomer: str, now: float) -> None:
        resident.phase = Phase.PAUSING
        resident.paused_at = now
        self._say(Pause(resident.handle, resident.model, resident.place, newcomer))

    def unloaded(self, resident: Resident) -> None:
        """Its bytes are free again, and its sequences are kept: paused, or not resumed after all."""
        resident.phase = Phase.PAUSED
        resident.bytes = 0
        self.ledger.drop(resident.place, resident.handle)

    def evict(self, resident: Resident, newcomer: str, reason: EvictReason) -> None:
        assert not resident.leases, resident
        resident.phase = Phase.EVICTING
        self._say(Evict(resident.handle, resident.model, resident.place, newcomer, reason))

    def drop(self, resident: Resident) -> None:
        """It is gone."""
        if resident.bytes:
            self.ledger.drop(resident.place, resident.handle)
        del self.by_handle[resident.handle]
        self._models[resident.model].resident = None

    def lose(self, resident: Resident, device: str) -> None:
        """It is gone from a lost device, and has to be dropped from the others of its place."""
        if resident.bytes:
            self.ledger.drop((device,), resident.handle)
        resident.place = tuple(name for name in resident.place if name != device)
        resident.farewell = "lost"
        if resident.place:
            self.evict(resident, "", "lost")
        else:
            self.drop(resident)

    def _new(self, model: Model, place: Place, now: float) -> Resident:
        self._last_handle += 1
        resident = Resident(self._last_handle, model.key, place, model.fit.placement, now)
        self.by_handle[resident.handle] = model.resident = resident
        return resident
