"""The pool as the routes use it: asks the policy, and has the engine do what it answers."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from engine.api import Engine, EngineError, ErrorCode, LoadOrder, LoadReport, ModelCard
from gateway.pool.actions import Action, CancelLoad, Evict, Grant, Load, Reject
from gateway.pool.errors import PoolClosed, error_of
from gateway.pool.limits import PoolLimits
from gateway.pool.log import log_action
from gateway.pool.placement import Fit, TooLarge, fit
from gateway.pool.policy import Policy
from gateway.pool.status import ModelStatus, status_of

LOST_POLL_SECONDS = 0.1
EVICT_RETRY_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PoolModel:
    """What the pool needs to know of a catalog entry. `key`: of the checkpoint, not of an alias."""

    key: str
    card: ModelCard
    path: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a loaded model. It stays resident until the lease ends."""

    model: str
    handle: int
    device: str
    kv_tokens: int


class Pool:
    """Grants leases on models, loading and evicting as the policy decides.

    All bookkeeping is synchronous: nothing between an event and the start of its actions can be
    cancelled, so giving a lease back needs no shield.
    """

    def __init__(
        self,
        engine: Engine,
        limits: PoolLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits or PoolLimits()
        self._clock = clock
        self._policy = Policy(engine.devices, self._limits)
        self._requests = itertools.count(1)
        self._paths: dict[str, str] = {}
        self._waiting: dict[int, asyncio.Future[Lease]] = {}
        self._loads: dict[int, asyncio.Future[LoadReport]] = {}
        self._fractions: dict[int, float] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._lost: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        engine.on_lost(self._on_lost)

    # --- for the routes -------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self, model: PoolModel) -> AsyncIterator[Lease]:
        """Waits until the model is ready, and keeps it so until the block ends.

        Raises a `PoolError`: too large, queue full, waited too long, could not be loaded. If the
        worker is lost the lease is void, which the engine says to whoever uses its handle.
        """
        if self._is_closed:
            raise PoolClosed
        request = next(self._requests)
        waiting: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiting[request] = waiting
        self._paths[model.key] = model.path
        self._act(self._policy.requested(request, model.key, model.card, self._clock()))
        try:
            yield await waiting
        finally:
            del self._waiting[request]
            self._act(self._policy.cancelled(request, self._clock()))

    def fit(self, card: ModelCard) -> Fit | TooLarge:
        """How the model would be loaded, hence the context it serves, whether loaded or not."""
        return fit(card, self._engine.devices, self._limits.max_context)

    def status(self, key: str) -> ModelStatus:
        """Where a model stands, with the progress of its load."""
        model = self._policy.models.get(key)
        if model is None:
            return ModelStatus(key)
        handle = model.resident.handle if model.resident else 0
        return status_of(model, self._fractions.get(handle, 0.0), self._clock())

    def snapshot(self) -> dict[str, ModelStatus]:
        """Every model that was ever asked for, by key."""
        return {key: self.status(key) for key in self._policy.models}

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
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(PoolClosed())
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- actions --------------------------------------------------------------------------------

    def _act(self, actions: list[Action]) -> None:
        if self._is_closed:
            return
        for action in actions:
            log_action(action)
            self._do(action)
        self._arm_timer()

    def _do(self, action: Action) -> None:
        match action:
            case Load():
                self._load(action)
            case CancelLoad(handle):
                self._loads[handle].cancel()
            case Evict():
                self._start_evicting(action)
            case Grant(request, model, handle, device, kv_tokens):
                waiting = self._waiting[request]
                # one cancelled a moment ago gives its lease back as soon as it runs
                if not waiting.done():
                    waiting.set_result(Lease(model, handle, device, kv_tokens))
            case Reject(request, model, reason):
                waiting = self._waiting[request]
                if not waiting.done():
                    waiting.set_exception(error_of(model, reason))

    def _load(self, order: Load) -> None:
        """Its end is told by a callback: a task cancelled before it began never runs a line."""

        def progress(fraction: float) -> None:
            self._fractions[order.handle] = fraction

        path = self._paths[order.model]
        engine_order = LoadOrder(
            order.handle, order.device, path, order.form, order.kv_tokens, order.state_slots
        )
        task = asyncio.ensure_future(self._engine.load(engine_order, progress))
        self._tasks.add(task)
        self._loads[order.handle] = task
        started = self._clock()
        task.add_done_callback(lambda task: self._load_ended(order, task, started))

    def _load_ended(self, order: Load, task: asyncio.Future[LoadReport], started: float) -> None:
        self._tasks.discard(task)
        del self._loads[order.handle]
        self._fractions.pop(order.handle, None)
        if task.cancelled():
            self._act(self._policy.failed(order.handle, "internal", "cancelled", self._clock()))
        elif error := task.exception():
            self._load_failed(order, error)
        else:
            seconds = round(self._clock() - started, 3)
            log.info("model_loaded", model=order.model, handle=order.handle, seconds=seconds)
            self._act(self._policy.loaded(order.handle, self._clock()))

    def _load_failed(self, order: Load, error: BaseException) -> None:
        code: ErrorCode = error.code if isinstance(error, EngineError) else "internal"
        reason = error.message if isinstance(error, EngineError) else repr(error)
        log.warning("model_load_failed", model=order.model, code=code, reason=reason)
        if code != "worker_lost":  # what was lost with a worker, `on_lost` settles
            self._act(self._policy.failed(order.handle, code, reason, self._clock()))

    def _start_evicting(self, order: Evict) -> None:
        task = asyncio.ensure_future(self._evict(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evict(self, order: Evict) -> None:
        """Until the engine says that the memory is free, it counts as taken."""
        started = self._clock()
        while True:
            try:
                await self._engine.evict(order.device, order.handle)
                break
            except Exception as error:
                code = error.code if isinstance(error, EngineError) else "internal"
                if code == "worker_lost":
                    return  # `on_lost` settles it
                if code == "stale_handle":
                    break  # it is gone, which is what we want
                log.exception("model_evict_failed", model=order.model, handle=order.handle)
                await asyncio.sleep(EVICT_RETRY_SECONDS)
        seconds = round(self._clock() - started, 3)
        log.info("model_evicted", model=order.model, handle=order.handle, seconds=seconds)
        self._act(self._policy.evicted(order.handle, self._clock()))

    # --- events ---------------------------------------------------------------------------------

    def _on_lost(self, device: str) -> None:
        log.warning("device_lost", device=device)
        self._lost.add(device)
        self._act(self._policy.worker_lost(device, self._clock()))

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        deadline = self._policy.next_deadline(now)
        waits = [] if deadline is None else [deadline - now]
        waits += [LOST_POLL_SECONDS] if self._lost else []
        if waits:
            self._timer = asyncio.get_running_loop().call_later(min(waits), self.tick)
