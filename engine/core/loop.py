"""The thread that owns a device's models."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable

import structlog

from engine.api import DeviceStats
from engine.core.residents import Reply, Residents
from engine.core.work import Work

TICK_SECONDS = 0.5

log = structlog.get_logger()


class StepLoop:
    """Runs steps while there are sequences, sleeps while there are none.

    `put` may be called from any thread. `reply` is called on the loop's own, and so is `on_tick`:
    a sign of life with what it counts, at least once a second unless a step takes longer.
    `on_crash`: a bug ended the loop; nothing it held will be answered.
    """

    def __init__(
        self,
        reply: Reply,
        on_tick: Callable[[DeviceStats], None],
        on_crash: Callable[[], None],
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        self._residents = Residents(reply)
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._on_start, self._on_tick, self._on_crash = on_start, on_tick, on_crash
        self._num_steps = 0
        self._last_tick = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="steps", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, work: Work) -> None:
        self._inbox.put(work)

    def stop(self) -> None:
        """Ends the loop after the step it is in. What is still running is left unanswered."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._on_start()
            while self._take_work():
                self._tick()
                if not self._residents.is_idle:
                    self._step()
        except Exception:
            log.exception("step_loop_crashed")
            self._on_crash()

    def _step(self) -> None:
        handle = self._residents.next_turn()
        started = time.perf_counter()
        self._residents.step(handle)
        self._residents.charge(handle, time.perf_counter() - started)
        self._num_steps += 1
        if self._residents.is_idle:
            self._residents.check()

    def _take_work(self) -> bool:
        """Applies what has come; waits for it while idle. False when the loop is to end."""
        for work in self._arrivals():
            if work is None:
                return False
            self._residents.apply(work)
        return True

    def _arrivals(self) -> Iterable[Work | None]:
        with contextlib.suppress(queue.Empty):
            if self._residents.is_idle and not (self._inbox.empty() and self._residents.prepare()):
                yield self._inbox.get(timeout=TICK_SECONDS)
            while True:
                yield self._inbox.get_nowait()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._last_tick >= TICK_SECONDS:
            self._last_tick = now
            begun, drafted = self._residents.begun, self._residents.drafted
            self._on_tick(
                DeviceStats(
                    steps=self._num_steps,
                    prompt_tokens=begun.num_tokens,
                    cached_tokens=begun.num_cached,
                    drafted_tokens=drafted.num_drafted,
                    accepted_tokens=drafted.num_accepted,
                )
            )
