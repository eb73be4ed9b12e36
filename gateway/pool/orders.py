"""What the policy ordered, carried out by the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from engine.api import Engine, EngineError, ErrorCode, LoadOrder, LoadReport
from gateway.pool.actions import Evict, Load, Pause
from gateway.pool.lease import PoolModel

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class Outcomes(Protocol):
    """Who is told how an order ended. Orders lost with a worker end without a word."""

    def load_ended(self, order: Load, report: LoadReport) -> None: ...

    def load_failed(self, order: Load, code: ErrorCode, reason: str) -> None: ...

    def pause_ended(self, order: Pause) -> None: ...

    def evict_ended(self, order: Evict) -> None: ...


class Orders:
    """Loads, pauses and evictions under way, each a task."""

    def __init__(self, engine: Engine, outcomes: Outcomes) -> None:
        self._engine = engine
        self._outcomes = outcomes
        self._tasks: set[asyncio.Future[Any]] = set()
        self._loads: dict[int, asyncio.Future[LoadReport]] = {}
        self.fractions: dict[int, float] = {}

    @property
    def num_running(self) -> int:
        return len(self._tasks)

    def load(self, order: Load, model: PoolModel) -> None:
        """Its end is told by a callback: a task cancelled before it began never runs a line."""

        def progress(fraction: float) -> None:
            self.fractions[order.handle] = fraction

        device, *others = order.place
        engine_order = LoadOrder(
            order.handle,
            device,
            model.path,
            order.form,
            order.kv_tokens,
            order.state_slots,
            order.resumes,
            tuple(others),
            model.dtype,
            model.kv_dtype,
        )
        task = asyncio.ensure_future(self._engine.load(engine_order, progress))
        self._tasks.add(task)
        self._loads[order.handle] = task
        task.add_done_callback(lambda task: self._load_ended(order, task))

    def cancel_load(self, handle: int) -> None:
        self._loads[handle].cancel()

    def pause(self, order: Pause) -> None:
        self._start(
            "model_paused",
            order,
            lambda: self._engine.pause(order.place[0], order.handle),
            lambda: self._outcomes.pause_ended(order),
        )

    def evict(self, order: Evict) -> None:
        self._start(
            "model_evicted",
            order,
            lambda: self._engine.evict(order.place[0], order.handle),
            lambda: self._outcomes.evict_ended(order),
        )

    async def close(self) -> None:
        """Stops what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _load_ended(self, order: Load, task: asyncio.Future[LoadReport]) -> None:
        self._tasks.discard(task)
        del self._loads[order.handle]
        self.fractions.pop(order.handle, None)
        if task.cancelled():
            self._outcomes.load_failed(order, "internal", "cancelled")
        elif error := task.exception():
            code = _code(error)
            reason = error.message if isinstance(error, EngineError) else repr(error)
            log.warning("model_load_failed", model=order.model, code=code, reason=reason)
            if code != "worker_lost":  # what was lost with a worker, `on_lost` settles
                self._outcomes.load_failed(order, code, reason)
        else:
            report = task.result()
            log.info(
                "model_loaded",
                model=order.model,
                handle=order.handle,
                seconds=round(report.seconds, 3),
                tier=report.tier,
                bytes=report.total_bytes,
            )
            self._outcomes.load_ended(order, report)

    def _start(
        self,
        event: str,
        order: Pause | Evict,
        ask: Callable[[], Awaitable[None]],
        tell: Callable[[], None],
    ) -> None:
        task = asyncio.ensure_future(self._insist(event, order, ask, tell))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _insist(
        self,
        event: str,
        order: Pause | Evict,
        ask: Callable[[], Awaitable[None]],
        tell: Callable[[], None],
    ) -> None:
        """Until the engine says that the memory is free, it counts as taken."""
        started = asyncio.get_running_loop().time()
        while True:
            try:
                await ask()
                break
            except Exception as error:
                code = _code(error)
                if code == "worker_lost":
                    return  # `on_lost` settles it
                if code == "stale_handle":
                    break  # it is gone, which is what we want
                log.exception("order_failed", wanted=event, model=order.model, handle=order.handle)
                await asyncio.sleep(RETRY_SECONDS)
        seconds = round(asyncio.get_running_loop().time() - started, 3)
        log.info(event, model=order.model, handle=order.handle, seconds=seconds)
        tell()


def _code(error: BaseException) -> ErrorCode:
    return error.code if isinstance(error, EngineError) else "internal"
