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
from gateway.pool.state import Model, Phase, Resident
from gateway.pool.wishes import Wish


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

    def load(self, wish: Wish, device: str, now: float) -> None:
        """A cold model gets a new handle; a paused one comes back under its own."""
        resident = wish.paused or self._new(wish.model, device, now)
        resident.needed = min(wish.needed, self.ledger.budget(device))
        resident.bytes = resident.needed
        resident.phase = Phase.LOADING
        resident.claimed_since = wish.since
        model = wish.model
        resident.swap_since = now if model.room_since is None else model.room_since
        model.room_since = None
        self.ledger.hold(device, resident.handle, resident.bytes)
        placement = resident.placement
        self._say(
            Load(
                resident.handle,
                model.key,
                device,
                placement.form,
                placement.kv_tokens,
                resident.bytes,
                placement.state_slots,
                resumes=wish.paused is not None,
            )
        )

    def loaded(self, resident: Resident, used_bytes: int | None, now: float) -> None:
        resident.phase = Phase.READY
        resident.last_used = resident.usable_since = now
        resident.swap_seconds = now - resident.swap_since
        if used_bytes is not None:
            resident.bytes = resident.needed = used_bytes
            self.ledger.correct(resident.device, resident.handle, used_bytes)

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
        self._say(Pause(resident.handle, resident.model, resident.device, newcomer))

    def unloaded(self, resident: Resident) -> None:
        """Its bytes are free again, and its sequences are kept: paused, or not resumed after all."""
        resident.phase = Phase.PAUSED
        resident.bytes = 0
        self.ledger.drop(resident.device, resident.handle)

    def evict(self, resident: Resident, newcomer: str, reason: EvictReason) -> None:
        assert not resident.leases, resident
        resident.phase = Phase.EVICTING
        self._say(Evict(resident.handle, resident.model, resident.device, newcomer, reason))

    def drop(self, resident: Resident) -> None:
        """It is gone."""
        if resident.bytes:
            self.ledger.drop(resident.device, resident.handle)
        del self.by_handle[resident.handle]
        self._models[resident.model].resident = None

    def _new(self, model: Model, device: str, now: float) -> Resident:
        self._last_handle += 1
        resident = Resident(self._last_handle, model.key, device, model.fit.placement, now)
        self.by_handle[resident.handle] = model.resident = resident
        return resident
