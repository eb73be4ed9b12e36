"""Who waits for a model and who uses one."""

from collections.abc import Callable, Iterable

from gateway.pool.actions import (
    Action,
    Grant,
    QueueIsFull,
    Refusal,
    Reject,
    Revoke,
    WaitedTooLong,
)
from gateway.pool.limits import PoolLimits
from gateway.pool.state import Model, Phase, Resident, Waiter
from gateway.pool.victims import decayed_uses


class Requests:
    """Waiters and leases, by request number."""

    def __init__(
        self, models: dict[str, Model], limits: PoolLimits, say: Callable[[Action], None]
    ) -> None:
        self._models = models
        self._limits = limits
        self._say = say
        self._waiting: dict[int, Model] = {}
        self._leases: dict[int, Resident] = {}

    def retune(self, limits: PoolLimits) -> None:
        """Those who wait already are not refused for a shorter queue."""
        self._limits = limits

    def admit(self, request: int, model: Model, priority: int, now: float) -> None:
        """Lets the request wait, or refuses it."""
        refusal = self._refusal(model, now)
        if refusal is not None:
            self.reject(request, model.key, refusal)
            return
        worth = self._limits.priority_seconds
        worth = self._limits.max_wait_seconds if worth is None else worth
        rank = now - worth * (model.terms.priority + priority)
        model.waiters[request] = Waiter(request, now, rank)
        self._waiting[request] = model

    def leave(self, request: int, now: float) -> Resident | None:
        """Forgets a request. The resident whose lease it gave back, if it had one."""
        model = self._waiting.pop(request, None)
        if model is not None:
            del model.waiters[request]
        resident = self._leases.pop(request, None)
        if resident is not None:
            resident.leases.remove(request)
            resident.last_used = now
        return resident

    def grant(self, now: float) -> None:
        """To all who wait for a model that is ready and open."""
        for model in self.wanted():
            resident = model.resident
            if resident is None or resident.is_void:
                continue
            if resident.phase is Phase.READY:
                for request in model.waiters:
                    self._lease(request, resident, now)
                model.uses = decayed_uses(model, now) + len(model.waiters)
                model.uses_at = now
                model.waiters.clear()

    def expire(self, now: float) -> None:
        """Refuses who has waited too long."""
        limit = self._limits.wait_timeout_seconds
        for model in self.wanted():
            overdue = [w for w in model.waiters.values() if w.since + limit <= now]
            self.reject_waiters(model, WaitedTooLong(limit), overdue)

    def reject(self, request: int, key: str, reason: Refusal) -> None:
        self._say(Reject(request, key, reason))

    def reject_waiters(
        self, model: Model, reason: Refusal, waiters: Iterable[Waiter] | None = None
    ) -> None:
        """Refuses these waiters of a model, or all."""
        for waiter in list(model.waiters.values() if waiters is None else waiters):
            del model.waiters[waiter.request]
            del self._waiting[waiter.request]
            self.reject(waiter.request, model.key, reason)

    def revoke(self, resident: Resident, reason: Refusal) -> None:
        """Ends those who use a resident; it stays until each has given its lease back."""
        if resident.leases and not resident.is_void:
            requests = tuple(sorted(resident.leases))
            self._say(Revoke(resident.handle, resident.model, requests, reason))
        resident.is_void = True

    def void(self, resident: Resident) -> None:
        """The leases of what is gone mean nothing any more."""
        for request in resident.leases:
            del self._leases[request]
        resident.leases.clear()

    def wanted(self) -> list[Model]:
        return [model for model in self._models.values() if model.waiters]

    def _lease(self, request: int, resident: Resident, now: float) -> None:
        del self._waiting[request]
        self._leases[request] = resident
        resident.leases.add(request)
        resident.last_used = now
        kv_tokens = resident.placement.kv_tokens
        self._say(Grant(request, resident.model, resident.handle, resident.place, kv_tokens))

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
