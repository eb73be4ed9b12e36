"""Loads, each in a thread of its own beside the step loop."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec
import structlog
import torch

from engine.api import EngineError, Failure, LoadOrder, LoadReport
from engine.core.failures import failure_of
from engine.core.resident import Resident
from engine.core.work import Add, GiveUp, Resume, Work
from engine.residency.loader import LoadCancelled
from engine.wire import Event, Loaded, LoadFailed, Loading, Seat
from engine.worker.background import be_background
from engine.worker.group import Groups
from engine.worker.memory import give_back_memory
from engine.worker.models import Models

PROGRESS_SECONDS = 0.2

CANCELLED = Failure("internal", "the load was cancelled")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Load:
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Loads:
    """Loads give way to steps, unless the model is warm: that takes no longer than a step.

    put: hands a finished model to the step loop. post: tells the gateway. Load threads call both.

    What `post` says is true when it is said: Loaded once the model was added, LoadFailed once the
    memory is free again. A paused model whose load is cancelled stays paused; if it fails, its
    sequences do.
    """

    def __init__(
        self,
        models: Models,
        num_threads: int,
        put: Callable[[Work], None],
        post: Callable[[Event], None],
        speculate: int = 0,
        *,
        groups: Groups | None = None,
    ) -> None:
        self._models, self._num_threads = models, num_threads
        self._groups = groups or Groups(num_threads)
        self._speculate = speculate
        self._put, self._post = put, post
        self._loads: dict[int, _Load] = {}

    def start(self, order: LoadOrder, seat: Seat | None = None) -> None:
        """seat: for a part of the model; of others than the first, nothing is put."""
        self._loads[order.handle] = _Load()
        if seat is not None:
            self._groups.prepare(order.handle, seat)
        name = f"load {order.handle}"
        threading.Thread(target=self._run, args=(order, seat), name=name, daemon=True).start()

    def is_loading(self, handle: int) -> bool:
        return handle in self._loads

    def cancel(self, handle: int) -> None:
        """Asks a load to stop; one that has finished is left alone."""
        if load := self._loads.get(handle):
            load.cancelled.set()

    def end(self, handle: int) -> None:
        """Cancels a load and waits until it was answered, one way or the other."""
        if load := self._loads.get(handle):
            load.cancelled.set()
            load.ended.wait()

    def _run(self, order: LoadOrder, seat: Seat | None) -> None:
        torch.set_num_threads(self._num_threads)  # torch keeps it per thread
        event = self._answer(order, seat)
        load = self._loads.pop(order.handle)
        self._post(event)
        load.ended.set()

    def _answer(self, order: LoadOrder, seat: Seat | None) -> Loaded | LoadFailed:
        if order.resumes and not self._models.is_paused(order.handle):
            return LoadFailed(
                order.handle, Failure("stale_handle", f"no model {order.handle} is paused")
            )
        event = self._load(order, seat)
        if isinstance(event, LoadFailed):
            self._groups.end(order.handle)
            self._models.close(order.handle)
            give_back_memory()
        return event

    def _load(self, order: LoadOrder, seat: Seat | None) -> Loaded | LoadFailed:
        started = time.perf_counter()
        try:
            report = self._load_and_add(order, seat)
        except LoadCancelled:
            return LoadFailed(order.handle, CANCELLED)
        except EngineError as error:  # foreseen: the gateway says what it means
            return self._failed(order, error)
        except Exception as error:
            log.exception("load_failed", path=order.path, handle=order.handle)
            return self._failed(order, error)
        seconds = time.perf_counter() - started
        return Loaded(order.handle, msgspec.structs.replace(report, seconds=seconds))

    def _load_and_add(self, order: LoadOrder, seat: Seat | None) -> LoadReport:
        progress, cancelled = (
            _Progress(order.handle, self._post),
            self._loads[order.handle].cancelled,
        )
        ranks = None if seat is None else self._groups.ranks_of(seat)
        model, caches, report = self._models.open(
            order, progress, cancelled.is_set, be_background, ranks=ranks
        )
        if ranks is not None:
            model = self._groups.join(order.handle, ranks, model, caches, cancelled.is_set)
            if ranks.shard.rank:
                return report
        if order.resumes:
            resumed: Future[bool] = Future()
            self._put(Resume(order.handle, model, caches, resumed))
            if not resumed.result():
                raise EngineError("stale_handle", f"model {order.handle} was evicted meanwhile")
        else:
            counts = self._models.counts_of(order.path)
            resident = Resident(model, caches, speculate=self._speculate, counts=counts)
            self._put(Add(order.handle, resident))
        return report

    def _failed(self, order: LoadOrder, error: Exception) -> LoadFailed:
        failure = failure_of(error)
        if order.resumes:
            self._put(GiveUp(order.handle, failure))
        self._models.forget(order.handle)
        return LoadFailed(order.handle, failure)


class _Progress:
    """Passes on a fraction a few times a second."""

    def __init__(self, handle: int, post: Callable[[Event], None]) -> None:
        self._handle, self._post = handle, post
        self._last = time.monotonic()

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS:
            self._last = now
            self._post(Loading(self._handle, fraction))
