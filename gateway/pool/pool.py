"""The pool as the routes use it: asks the policy, and has the engine do what it answers."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from engine.api import Engine, ErrorCode, LoadReport, ModelCard
from gateway.pool.actions import (
    Action,
    CancelLoad,
    Evict,
    Grant,
    Load,
    Pause,
    Reject,
    Revoke,
)
from gateway.pool.errors import PoolClosed, error_of
from gateway.pool.groups import Group
from gateway.pool.holder import Holder
from gateway.pool.lease import Lease, PoolModel
from gateway.pool.limits import PoolLimits
from gateway.pool.log import log_action
from gateway.pool.observer import Observers, PoolObserver
from gateway.pool.orders import Orders
from gateway.pool.placement import Fit, TooLarge
from gateway.pool.plan import Plan
from gateway.pool.policy import Policy
from gateway.pool.status import ModelStatus, status_of
from gateway.pool.terms import DEFAULT_TERMS, Terms
from gateway.pool.wishes import wishes_of

LOST_POLL_SECONDS = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Request:
    granted: asyncio.Future[Lease]
    holder: Holder
    since: float


class Pool:
    """Grants leases on models, loading, pausing and evicting as the policy decides.

    All bookkeeping is synchronous: nothing between an event and the start of its actions can be
    cancelled, so giving a lease back needs no shield.
    """

    def __init__(
        self,
        engine: Engine,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        groups: Sequence[Group] = (),
        observers: Sequence[PoolObserver] = (),
    ) -> None:
        self._engine = engine
        self._limits = limits or PoolLimits()
        self._clock = clock
        self._policy = Policy(engine.devices, self._limits, groups)
        self._orders = Orders(engine, self)
        self._observers = Observers(observers)
        self._numbers = itertools.count(1)
        self._models: dict[str, PoolModel] = {}
        self._requests: dict[int, _Request] = {}
        self._ready_since: dict[int, float] = {}
        self._lost: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        engine.on_lost(self._on_lost)

    # --- for the routes -------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(
        self, model: PoolModel, *, keep_alive: float | None = None, priority: int = 0
    ) -> AsyncIterator[Lease]:
        """Waits until the model is ready, and keeps it for the block; it may be paused meanwhile.

        keep_alive: seconds it stays after its last use, from now on: 0 for none, negative for ever;
        None leaves it as it is. Raises a `PoolError`: too large, only pinned models left, queue
        full, waited too long, could not be loaded; within the block too, if it is unloaded by force
        or cannot come back from a pause. If the worker is lost the lease is void, which the engine
        says to whoever uses its handle.
        """
        if self._is_closed:
            raise PoolClosed
        number, holder = next(self._numbers), Holder()
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._requests[number] = _Request(granted, holder, self._clock())
        self._models[model.key] = model
        self._act(
            self._policy.requested(
                number,
                model.key,
                model.card,
                self._clock(),
                name=model.id,
                terms=model.terms,
                keep_alive=keep_alive,
                priority=priority,
            )
        )
        try:
            yield await granted
        except asyncio.CancelledError:
            if (error := holder.verdict()) is not None:
                raise error from None
            raise
        finally:
            del self._requests[number]
            self._act(self._policy.cancelled(number, self._clock()))

    async def preload(self, model: PoolModel, *, keep_alive: float | None = None) -> None:
        """Returns once the model is ready. Raises as `lease` does."""
        async with self.lease(model, keep_alive=keep_alive):
            pass

    def pin(self, key: str, is_pinned: bool = True) -> None:
        """Keeps a model that is loaded, or will be, whatever others need; or no longer."""
        self._act(self._policy.pinned(key, is_pinned, self._clock()))

    def regroup(self, groups: Sequence[Group]) -> None:
        """Other groups from now on, as when a name leads to another model than before."""
        self._policy.regroup(groups)

    def unload(self, key: str, *, force: bool = False) -> None:
        """Has a model go once its requests have ended. force: ends them, and refuses who waits."""
        self._act(self._policy.unload_requested(key, force, self._clock()))

    def plan(self, model: PoolModel) -> Plan:
        """What a request for the model would bring about now."""
        return self._policy.plan(
            model.key, model.card, self._clock(), name=model.id, terms=model.terms
        )

    def fit(
        self, card: ModelCard, terms: Terms = DEFAULT_TERMS, key: str | None = None
    ) -> Fit | TooLarge:
        """How the model would be loaded, hence the context it serves, whether loaded or not.

        key: of a model that may be loaded, on terms from before the settings were changed.
        """
        return self._policy.fit(card, terms, key)

    def retune(self, limits: PoolLimits) -> None:
        """Other limits from now on; what is loaded keeps the context that it has."""
        self._policy.retune(limits)

    def renew(self, models: Sequence[PoolModel]) -> None:
        """Other terms from now on, for those of the models that were ever asked for."""
        for model in models:
            if model.key in self._models:
                self._act(self._policy.renewed(model.key, model.terms, self._clock()))

    def retire(self, is_outdated: Callable[[PoolModel], bool]) -> None:
        """Has those models go, once nobody uses them, that are others by now, under other keys."""
        for model in [*self._models.values()]:
            if is_outdated(model):
                self._act(self._policy.retired(model.key, self._clock()))

    # --- for those who watch --------------------------------------------------------------------

    def observe(self, observer: PoolObserver) -> None:
        """Tells the observer of all that happens from now on."""
        self._observers.add(observer)

    def status(self, key: str, terms: Terms = DEFAULT_TERMS) -> ModelStatus:
        """Where a model stands, with the progress of its load.

        terms: those of its next request, for a model that was never asked for.
        """
        model = self._policy.models.get(key)
        if model is None:
            return ModelStatus(key, pinned=self._policy.pins.get(key, terms.pinned))
        handle = model.resident.handle if model.resident else 0
        fraction = self._orders.fractions.get(handle, 0.0)
        return status_of(model, fraction, self._policy.expiry(model), self._clock())

    def snapshot(self) -> dict[str, ModelStatus]:
        """Every model that was ever asked for, by key."""
        return {key: self.status(key) for key in self._policy.models}

    def ahead(self, key: str) -> int:
        """How many other models have their turn before this one, which waits for room."""
        turns = [wish.model.key for wish in wishes_of(self._policy.models.values())]
        return turns.index(key) if key in turns else 0

    def held_bytes(self) -> dict[str, int]:
        """Bytes that the ledger counts as taken, by device."""
        return {
            device.name: self._policy.ledger.held(device.name) for device in self._policy.devices
        }

    def swap_seconds(self) -> dict[str, float]:
        """Seconds in which something was coming or going, by device, since the pool began."""
        return self._policy.swaps.until(self._clock())

    # --- time -----------------------------------------------------------------------------------

    def tick(self) -> None:
        """Does what time alone brings about. The pool's own timer calls it when it is due."""
        alive = self._engine.status.workers
        for device in sorted(self._lost.intersection(alive)):
            self._lost.remove(device)
            log.info("device_ready", device=device)
            self._act(self._policy.device_ready(device, self._clock()))
        self._act(self._policy.ticked(self._clock()))

    async def close(self) -> None:
        """Refuses who waits, stops loads. What is loaded ends with the engine's processes."""
        self._is_closed = True
        for request in self._requests.values():
            if not request.granted.done():
                request.granted.set_exception(PoolClosed())
        if self._timer is not None:
            self._timer.cancel()
        await self._orders.close()

    # --- actions --------------------------------------------------------------------------------

    def _act(self, actions: list[Action]) -> None:
        if self._is_closed:
            return
        for action in actions:
            log_action(action)
            self._observers.on_action(action, self._clock())
            self._do(action)
        self._arm_timer()

    def _do(self, action: Action) -> None:
        match action:
            case Load():
                self._orders.load(action, self._models[action.model])
            case CancelLoad(handle):
                self._orders.cancel_load(handle)
            case Pause():
                self._orders.pause(action)
            case Evict():
                self._orders.evict(action)
            case Grant():
                self._grant(action)
            case Reject(number, model, reason):
                granted = self._requests[number].granted
                if not granted.done():
                    granted.set_exception(error_of(model, reason))
            case Revoke(_, model, numbers, reason):
                for number in numbers:
                    self._requests[number].holder.revoke(error_of(model, reason))

    def _grant(self, grant: Grant) -> None:
        request = self._requests[grant.request]
        self._observers.on_waited(grant.model, self._clock() - request.since)
        # one cancelled a moment ago gives its lease back as soon as it runs
        if not request.granted.done():
            lease = Lease(grant.model, grant.handle, grant.place, grant.kv_tokens)
            request.granted.set_result(lease)

    # --- outcomes -------------------------------------------------------------------------------

    def load_ended(self, order: Load, report: LoadReport) -> None:
        now = self._clock()
        self._ready_since.setdefault(order.handle, now)
        self._observers.on_loaded(order, report)
        used_bytes = report.total_bytes
        if not report.workspace_bytes:  # the worker did not measure it
            used_bytes += _workspace(self._models[order.model].card, order)
        build_seconds = report.phases.get("build", 0.0)
        self._act(self._policy.loaded(order.handle, now, used_bytes, report.seconds, build_seconds))

    def load_failed(self, order: Load, code: ErrorCode, reason: str) -> None:
        self._observers.on_load_failed(order, code, reason)
        self._act(self._policy.failed(order.handle, code, reason, self._clock()))

    def pause_ended(self, order: Pause) -> None:
        self._observers.on_paused(order)
        self._act(self._policy.paused(order.handle, self._clock()))

    def evict_ended(self, order: Evict) -> None:
        now = self._clock()
        seconds = now - self._ready_since.pop(order.handle, now)
        self._observers.on_evicted(order, order.reason, seconds)
        self._act(self._policy.evicted(order.handle, now))

    def _on_lost(self, device: str) -> None:
        log.warning("device_lost", device=device)
        self._lost.add(device)
        self._observers.on_lost(device)
        self._act(self._policy.worker_lost(device, self._clock()))
        self._ready_since = {
            handle: since
            for handle, since in self._ready_since.items()
            if handle in self._policy.residents
        }

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # as of what the policy was last told: it has not seen what fell due since
        deadline = self._policy.next_deadline(self._policy.settled_at)
        waits = [] if deadline is None else [max(0.0, deadline - self._clock())]
        waits += [LOST_POLL_SECONDS] if self._lost else []
        if waits:
            self._timer = asyncio.get_running_loop().call_later(min(waits), self.tick)


def _workspace(card: ModelCard, order: Load) -> int:
    return next(f.workspace_bytes for f in card.footprints if f.form == order.form)
