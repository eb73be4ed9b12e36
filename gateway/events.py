"""Changes of models' states, for whoever listens."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager

from msgspec import Struct

from engine.api import ErrorCode, LoadReport
from gateway.pool import ModelStatus
from gateway.pool.actions import Action, Evict, EvictReason, Load, Pause

MAX_EVENTS = 256
"""A listener that leaves more unread is let go."""

LOOK_SECONDS = 0.25
"""How often loads are asked how far they are, while somebody listens."""

Event = tuple[str, ModelStatus | None] | Struct
"""A change of a model's state, or an event that somebody made elsewhere."""

Facts = tuple[str, int]
"""What a listener is told the changes of: a model's state, and the percentage of its load."""


class Listener:
    """Ids whose model has changed, each with its status; None ends it, "*" is the list itself."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(self, event: Event) -> bool:
        """False if it reads too slowly; it then hears no more."""
        if self._queue.qsize() >= MAX_EVENTS:
            self.end()
            return False
        self._queue.put_nowait(event)
        return True

    def end(self) -> None:
        """What it has not read by now, it never will."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def events(self, seconds: float) -> AsyncGenerator[Event | None, None]:
        """What happens, as it does, and None after every silence of `seconds`."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    event = await self._queue.get()
            except TimeoutError:
                yield None
                continue
            if event is None:
                return
            yield event


class Events:
    """look: the status of every model by id. Costs nothing while nobody listens."""

    def __init__(self, look: Callable[[], Mapping[str, ModelStatus]]) -> None:
        self._look = look
        self._listeners: set[Listener] = set()
        self._last: dict[str, Facts] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A listener of what changes from now on."""
        listener = Listener()
        if self._is_closed:
            listener.end()
        if not self._listeners:
            self._last = {model: _facts(status) for model, status in self._look().items()}
        self._listeners.add(listener)
        self._arm()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    # --- a `PoolObserver` -----------------------------------------------------------------------

    def on_action(self, action: Action, now: float) -> None:
        del action, now
        self._soon()

    def on_loaded(self, order: Load, report: LoadReport) -> None:
        del order, report
        self._soon()

    def on_load_failed(self, order: Load, code: ErrorCode, reason: str) -> None:
        del order, code, reason
        self._soon()

    def on_paused(self, order: Pause) -> None:
        del order
        self._soon()

    def on_evicted(self, order: Evict, reason: EvictReason, resident_seconds: float) -> None:
        del order, reason, resident_seconds
        self._soon()

    def on_waited(self, model: str, seconds: float) -> None:
        """Changes no state that was not told of."""

    def on_lost(self, device: str) -> None:
        del device
        self._soon()

    def _soon(self) -> None:
        """Once what is being decided is done, since the pool is not to be asked meanwhile."""
        if self._listeners:
            asyncio.get_running_loop().call_soon(self.changed)

    # --- telling --------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something may have changed: tells of what did."""
        if not self._listeners:
            return
        statuses = self._look()
        facts = {model: _facts(status) for model, status in statuses.items()}
        last, self._last = self._last, facts
        if facts.keys() != last.keys():
            self._tell("*", None)
        for model, now in facts.items():
            if now != last.get(model, now):
                self._tell(model, statuses[model])

    def close(self) -> None:
        """Ends every listener, and those to come at once."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end()
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self, model: str, status: ModelStatus | None) -> None:
        self.tell((model, status))

    def tell(self, event: Event) -> None:
        """Everybody, of what happens elsewhere than in the pool."""
        slow = {listener for listener in self._listeners if not listener.tell(event)}
        self._listeners -= slow

    def _arm(self) -> None:
        if self._timer is None and self._listeners and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.changed()
        self._arm()


def _facts(status: ModelStatus) -> Facts:
    return status.state, round(100 * status.fraction) if status.state == "loading" else 0
