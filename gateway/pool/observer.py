from collections.abc import Iterable
from typing import Protocol

from engine.api import ErrorCode, LoadReport
from gateway.pool.actions import Action, Evict, EvictReason, Load, Pause


class PoolObserver(Protocol):
    """What the pool tells of as it happens. Must return at once, and must not ask the pool back.

    on_action: what was decided. The others: what came of it. A cancelled load fails with the reason
    "cancelled"; what is lost with a worker ends with `on_lost` alone.
    on_waited: seconds from a request to its lease, 0 if it did not wait; of a model's key.
    resident_seconds: since the model was first ready.
    """

    def on_action(self, action: Action, now: float) -> None: ...

    def on_loaded(self, order: Load, report: LoadReport) -> None: ...

    def on_load_failed(self, order: Load, code: ErrorCode, reason: str) -> None: ...

    def on_paused(self, order: Pause) -> None: ...

    def on_evicted(self, order: Evict, reason: EvictReason, resident_seconds: float) -> None: ...

    def on_waited(self, model: str, seconds: float) -> None: ...

    def on_lost(self, device: str) -> None: ...


class Observers:
    """A `PoolObserver` that passes all on to several."""

    def __init__(self, observers: Iterable[PoolObserver] = ()) -> None:
        self._observers = list(observers)

    def add(self, observer: PoolObserver) -> None:
        self._observers.append(observer)

    def on_action(self, action: Action, now: float) -> None:
        for observer in self._observers:
            observer.on_action(action, now)

    def on_loaded(self, order: Load, report: LoadReport) -> None:
        for observer in self._observers:
            observer.on_loaded(order, report)

    def on_load_failed(self, order: Load, code: ErrorCode, reason: str) -> None:
        for observer in self._observers:
            observer.on_load_failed(order, code, reason)

    def on_paused(self, order: Pause) -> None:
        for observer in self._observers:
            observer.on_paused(order)

    def on_evicted(self, order: Evict, reason: EvictReason, resident_seconds: float) -> None:
        for observer in self._observers:
            observer.on_evicted(order, reason, resident_seconds)

    def on_waited(self, model: str, seconds: float) -> None:
        for observer in self._observers:
            observer.on_waited(model, seconds)

    def on_lost(self, device: str) -> None:
        for observer in self._observers:
            observer.on_lost(device)
