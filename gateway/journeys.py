"""The journeys under way: who is told of each, and what the pool does for them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from engine.api import ErrorCode, LoadReport
from gateway.journey import Journey, Loading, Operation, arrival
from gateway.pool.actions import Action, CancelLoad, Close, Evict, EvictReason, Load, Pause, Reopen
from gateway.pool.place import name_of

_NAMES: dict[type[Action], str] = {
    Load: "loading",
    CancelLoad: "load_cancelled",
    Close: "draining",
    Reopen: "reopened",
    Pause: "pausing",
    Evict: "evicting",
}


class JourneyObserver(Protocol):
    """Is told of each journey once as it begins, and once when all is known of it."""

    def begun(self, journey: Journey) -> None: ...

    def ended(self, journey: Journey) -> None: ...


class Journeys:
    """A `PoolObserver`: what is done for a model is an event of each journey that wants it.

    Costs nothing between a grant and the answer's end.
    """

    def __init__(self, observers: Sequence[JourneyObserver] = ()) -> None:
        self._observers = observers
        self._by_key: defaultdict[str, set[Journey]] = defaultdict(set)

    @contextmanager
    def track(self, operation: Operation, name: str) -> Iterator[Journey]:
        """A journey that ends with the block, however that ends."""
        journey = Journey(operation, name, arrival())
        for observer in self._observers:
            observer.begun(journey)
        try:
            yield journey
        except (GeneratorExit, asyncio.CancelledError):
            journey.error = "abort"
            raise
        except Exception as error:
            journey.error = getattr(error, "code", None) or type(error).__name__
            raise
        finally:
            self._end(journey)

    def follow(self, journey: Journey, model: str, key: str) -> None:
        """The journey's model is known: from now on it hears of what is done for it."""
        journey.model, journey.key = model, key
        self._by_key[key].add(journey)

    def _end(self, journey: Journey) -> None:
        journey.ended_at = time.monotonic()
        if followers := self._by_key.get(journey.key):
            followers.discard(journey)
            if not followers:
                del self._by_key[journey.key]
        for observer in self._observers:
            observer.ended(journey)

    # --- a `PoolObserver` -----------------------------------------------------------------------

    def on_action(self, action: Action, now: float) -> None:
        del now
        if not isinstance(action, Load | CancelLoad | Close | Reopen | Pause | Evict):
            return
        facts = {"model": action.model.rpartition("@")[0]}
        if isinstance(action, Load | Pause | Evict):
            facts["device"] = name_of(action.place)
        if isinstance(action, Evict):
            facts["reason"] = action.reason
        keys = {action.model, getattr(action, "makes_room_for", "")}
        self._tell(keys, _NAMES[type(action)], facts)

    def on_loaded(self, order: Load, report: LoadReport) -> None:
        for journey in self._by_key.get(order.model, ()):
            journey.loads.append(Loading(time.monotonic(), report))

    def on_load_failed(self, order: Load, code: ErrorCode, reason: str) -> None:
        del reason
        self._tell({order.model}, "load_failed", {"code": code})

    def on_paused(self, order: Pause) -> None:
        self._tell({order.model, order.makes_room_for}, "paused", {"model": order.model})

    def on_evicted(self, order: Evict, reason: EvictReason, resident_seconds: float) -> None:
        del resident_seconds
        facts = {"model": order.model.rpartition("@")[0], "reason": reason}
        self._tell({order.makes_room_for}, "evicted", facts)

    def on_waited(self, model: str, seconds: float) -> None:
        """The journey itself knows when it was granted its model."""

    def on_lost(self, device: str) -> None:
        """Whoever used it is told by the engine."""

    def _tell(self, keys: set[str], name: str, facts: dict[str, str]) -> None:
        for key in keys:
            for journey in self._by_key.get(key, ()):
                journey.happened(name, **facts)
