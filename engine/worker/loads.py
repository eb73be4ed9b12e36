"""Loads, each in a thread of its own beside the step loop."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog
import torch

from engine.api import EngineError, Failure, LoadOrder, LoadReport
from engine.core.failures import failure_of
from engine.core.opening import open_resident
from engine.core.resident import Resident
from engine.residency.image_store import ImageStore
from engine.residency.loader import LoadCancelled
from engine.wire import Event, Loaded, LoadFailed, Loading
from engine.worker.memory import give_back_memory

PROGRESS_SECONDS = 0.2

log = structlog.get_logger()


class Loads:
    """add: hands a finished model on. post: tells the gateway. Both are called from load threads.

    What `post` says is true when it is said: Loaded once the model was added, LoadFailed once the
    memory is free again.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        num_threads: int,
        images: ImageStore,
        add: Callable[[int, Resident], None],
        post: Callable[[Event], None],
    ) -> None:
        self._dtype, self._num_threads, self._images = dtype, num_threads, images
        self._add, self._post = add, post
        self._cancelled: dict[int, threading.Event] = {}

    def start(self, order: LoadOrder) -> None:
        self._cancelled[order.handle] = threading.Event()
        name = f"load {order.handle}"
        threading.Thread(target=self._run, args=(order,), name=name, daemon=True).start()

    def cancel(self, handle: int) -> None:
        """Asks a load to stop; one that has finished is left alone."""
        if cancelled := self._cancelled.get(handle):
            cancelled.set()

    def _run(self, order: LoadOrder) -> None:
        torch.set_num_threads(self._num_threads)  # torch keeps it per thread
        event = self._load(order)
        if isinstance(event, LoadFailed):
            give_back_memory()
        del self._cancelled[order.handle]
        self._post(event)

    def _load(self, order: LoadOrder) -> Loaded | LoadFailed:
        started = time.perf_counter()
        try:
            report = self._load_and_add(order)
        except LoadCancelled:
            return LoadFailed(order.handle, Failure("internal", "the load was cancelled"))
        except EngineError as error:  # foreseen: the gateway says what it means
            return LoadFailed(order.handle, failure_of(error))
        except Exception as error:
            log.exception("load_failed", path=order.path, handle=order.handle)
            return LoadFailed(order.handle, failure_of(error))
        seconds = time.perf_counter() - started
        return Loaded(order.handle, msgspec.structs.replace(report, seconds=seconds))

    def _load_and_add(self, order: LoadOrder) -> LoadReport:
        resident, report = open_resident(
            Path(order.path),
            order.form,
            self._dtype,
            order.kv_tokens,
            order.state_slots,
            images=self._images,
            progress=_Progress(order.handle, self._post),
            cancelled=self._cancelled[order.handle].is_set,
        )
        self._add(order.handle, resident)
        return report


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
