"""The pool's decisions: events in, actions out. DESIGN.md beside this states the invariants.

`now` is monotonic seconds, given with every event. An event about a handle or request that is no
longer known changes nothing: its worker was lost, or it was answered before.
"""

from collections.abc import Iterable, Sequence

from engine.api import Device, ErrorCode, ModelCard
from gateway.pool.actions import (
    Action,
    CancelLoad,
    CannotFit,
    Close,
    Evict,
    Grant,
    Load,
    QueueIsFull,
    Refusal,
    Reject,
    Reopen,
    WaitedTooLong,
)
from gateway.pool.ledger import Ledger
from gateway.pool.limits import PoolLimits
from gateway.pool.placement import TooLarge, fit
from gateway.pool.room import Claim, Space, claim_room
from gateway.pool.state import Model, Phase, Resident, Waiter


class Policy:
    """Which models are resident, and who may use them. Every event ends in one `_settle`."""

    def __init__(self, devices: Sequence[Device], limits: PoolLimits) -> None:
        self.models: dict[str, Model] = {}
        self.residents: dict[int, Resident] = {}
        self.ledger = Ledger(devices)
        self._devices = devices
        self._limits = limits
        self._down: set[str] = set()
        self._leases: dict[int, Resident] = {}
        self._waiting: dict[int, Model] = {}
        self._last_handle = 0
        self._actions: list[Action] = []

    # --- events ---------------------------------------------------------------------------------

    def requested(self, request: int, key: str, card: ModelCard, now: float) -> list[Action]:
        """Ends in `Grant` or `Reject`, unless it is cancelled first. Request numbers are unique."""
        found = fit(card, self._devices, self._limits.max_context)
        if isinstance(found, TooLarge):
            self._reject(request, key, CannotFit(found.needed, found.available))
            return self._settle(now)
        model = self.models.setdefault(key, Model(key, found))
        if model.resident is None:
            model.fit = found  # the file may have been replaced since
        refusal = self._refusal(model, now)
        if refusal is not None:
            self._reject(request, key, refusal)
        else:
            model.waiters[request] = Waiter(request, now)
            self._waiting[request] = model
        return self._settle(now)

    def cancelled(self, request: int, now: float) -> list[Action]:
        """The request left, whether it was still waiting or had been granted meanwhile."""
        model = self._waiting.pop(request, None)
        if model is not None:
            del model.waiters[request]
        return self.released(request, now)

    def released(self, request: int, now: float) -> list[Action]:
        resident = self._leases.pop(request, None)
        if resident is not None:
            resident.leases.remove(request)
            resident.last_used = now
            self.models[resident.model].trouble.served()
        return self._settle(now)

    def loaded(self, handle: int, now: float) -> list[Action]:
        resident = self.residents.get(handle)
        if resident is not None:
            assert resident.phase in {Phase.LOADING, Phase.CANCELLING}, resident
            resident.phase = Phase.READY
            resident.last_used = now
            self.models[resident.model].trouble.loaded()
        return self._settle(now)

    def failed(self, handle: int, code: ErrorCode, message: str, now: float) -> list[Action]:
        """A load ended without a model, as asked or not; its memory is free again."""
        resident = self.residents.get(handle)
        if resident is not None:
            assert resident.phase in {Phase.LOADING, Phase.CANCELLING}, resident
            self._drop(resident)
            if resident.phase is Phase.LOADING:  # else nobody waited for this very load
                model = self.models[resident.model]
                refusal = model.trouble.failed(code, message, self._limits, now)
                self._reject_waiters(model, list(model.waiters.values()), refusal)
        return self._settle(now)

    def evicted(self, handle: int, now: float) -> list[Action]:
        resident = self.residents.get(handle)
        if resident is not None:
            assert resident.phase is Phase.EVICTING, resident
            self._drop(resident)
        return self._settle(now)

    def worker_lost(self, device: str, now: float) -> list[Action]:
        """All that was on the device is gone and its leases are void. Waiters go on waiting."""
        self._down.add(device)
        for resident in [r for r in self.residents.values() if r.device == device]:
            self._drop(resident)
            for request in resident.leases:
                del self._leases[request]
            if resident.leases or resident.phase is Phase.LOADING:
                model = self.models[resident.model]
                refusal = model.trouble.crashed(device, self._limits, now)
                if refusal is not None:
                    self._reject_waiters(model, list(model.waiters.values()), refusal)
        return self._settle(now)

    def device_ready(self, device: str, now: float) -> list[Action]:
        """The worker of a lost device is back, empty."""
        self._down.discard(device)
        return self._settle(now)

    def ticked(self, now: float) -> list[Action]:
        return self._settle(now)

    def next_deadline(self, now: float) -> float | None:
        """When time alone changes something: call `ticked` then."""
        deadlines = [d for model in self.models.values() for d in self._deadlines(model) if d > now]
        return min(deadlines, default=None)

    # --- settling -------------------------------------------------------------------------------

    def _settle(self, now: float) -> list[Action]:
        self._expire(now)
        self._cancel_unwanted_loads()
        self._grant(now)  # before room is made, so that every load serves who waited for it
        claims = self._claim(now)
        for claim in claims:
            self._pursue(claim, now)
        self._reopen({victim for claim in claims for victim in claim.victims})
        self._grant(now)
        actions, self._actions = self._actions, []
        return actions

    def _expire(self, now: float) -> None:
        limit = self._limits.wait_timeout_seconds
        for model in self._models_with_waiters():
            overdue = [w for w in model.waiters.values() if w.since + limit <= now]
            self._reject_waiters(model, overdue, WaitedTooLong(limit))

    def _cancel_unwanted_loads(self) -> None:
        for resident in self.residents.values():
            if resident.phase is Phase.LOADING and not self.models[resident.model].waiters:
                resident.phase = Phase.CANCELLING
                self._actions.append(CancelLoad(resident.handle, resident.model))

    def _grant(self, now: float) -> None:
        for model in self._models_with_waiters():
            resident = model.resident
            if resident is not None and resident.phase is Phase.READY:
                for request in model.waiters:
                    self._lease(request, resident, now)
                model.waiters.clear()

    def _lease(self, request: int, resident: Resident, now: float) -> None:
        del self._waiting[request]
        self._leases[request] = resident
        resident.leases.add(request)
        resident.last_used = now
        kv_tokens = resident.placement.kv_tokens
        self._actions.append(
            Grant(request, resident.model, resident.handle, resident.device, kv_tokens)
        )

    def _claim(self, now: float) -> list[Claim]:
        """Room for cold models, longest waiting first."""
        cold = [
            (waiter.since, waiter.request, model)
            for model in self._models_with_waiters()
            if model.resident is None and (waiter := model.first_waiter) is not None
        ]
        spaces = {
            device.name: Space(device.name, self.ledger, self.residents.values())
            for device in self._devices
            if cold and device.name not in self._down
        }
        claims = []
        for since, _, model in sorted(cold, key=lambda entry: entry[:2]):
            may_close = since + self._limits.max_wait_seconds <= now
            usable = [spaces[name] for name in model.fit.devices if name in spaces]
            claims.append(claim_room(usable, model, may_close=may_close))
        return [claim for claim in claims if claim is not None]

    def _pursue(self, claim: Claim, now: float) -> None:
        """Loads what fits now, evicts what stands idle, closes what does not.

        Victims go together: while one drains, the others stay, to be reopened if the claim ends.
        """
        if claim.fits_now:
            self._load(claim.model, claim.device, now)
        elif claim.is_clear:
            for victim in claim.victims:
                self._evict(victim, claim.model)
        else:
            for victim in claim.victims:
                self._close(victim, claim.model)

    def _load(self, model: Model, device: str, now: float) -> None:
        self._last_handle += 1
        placement = model.fit.placement
        resident = Resident(self._last_handle, model.key, device, placement, now)
        self.ledger.hold(device, resident.handle, placement.bytes)
        self.residents[resident.handle] = model.resident = resident
        self._actions.append(
            Load(
                resident.handle,
                model.key,
                device,
                placement.form,
                placement.kv_tokens,
                placement.bytes,
                placement.state_slots,
            )
        )

    def _evict(self, victim: Resident, newcomer: Model) -> None:
        victim.phase = Phase.EVICTING
        self._actions.append(Evict(victim.handle, victim.model, victim.device, newcomer.key))

    def _close(self, victim: Resident, newcomer: Model) -> None:
        if victim.phase is Phase.READY:
            victim.phase = Phase.DRAINING
            leases = len(victim.leases)
            self._actions.append(Close(victim.handle, victim.model, newcomer.key, leases))

    def _reopen(self, claimed: set[Resident]) -> None:
        for resident in self.residents.values():
            if resident.phase is Phase.DRAINING and resident not in claimed:
                resident.phase = Phase.READY
                self._actions.append(Reopen(resident.handle, resident.model))

    # --- refusing -------------------------------------------------------------------------------

    def _refusal(self, model: Model, now: float) -> Refusal | None:
        limits = self._limits
        if model.resident is not None and model.resident.phase is Phase.READY:
            return None
        if (refusal := model.trouble.refusal(now)) is not None:
            return refusal
        if len(model.waiters) >= limits.max_waiting_per_model:
            return QueueIsFull(len(model.waiters), limits.max_waiting_per_model)
        if len(self._waiting) >= limits.max_waiting:
            return QueueIsFull(len(self._waiting), limits.max_waiting)
        return None

    def _reject_waiters(self, model: Model, waiters: Iterable[Waiter], reason: Refusal) -> None:
        for waiter in waiters:
            del model.waiters[waiter.request]
            del self._waiting[waiter.request]
            self._reject(waiter.request, model.key, reason)

    def _reject(self, request: int, key: str, reason: Refusal) -> None:
        self._actions.append(Reject(request, key, reason))

    # --- helpers --------------------------------------------------------------------------------

    def _models_with_waiters(self) -> list[Model]:
        return [model for model in self.models.values() if model.waiters]

    def _deadlines(self, model: Model) -> Iterable[float]:
        waiter = model.first_waiter
        if waiter is not None:
            yield waiter.since + self._limits.wait_timeout_seconds
            yield waiter.since + self._limits.max_wait_seconds

    def _drop(self, resident: Resident) -> None:
        self.ledger.drop(resident.device, resident.handle)
        del self.residents[resident.handle]
        self.models[resident.model].resident = None
