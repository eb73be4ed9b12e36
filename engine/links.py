"""The processes of an engine as their client holds them, and the questions each has been asked."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

from engine.api import (
    Delta,
    Device,
    DeviceStats,
    DType,
    Failure,
    HostMemory,
    ImageCache,
    KVDType,
    LoadReport,
    ModelCard,
    Prepared,
    Spelling,
)
from engine.launcher import Launcher, Program, Supervisor
from engine.wire import (
    Checked,
    Deltas,
    Discard,
    Event,
    Evicted,
    Inspected,
    Loaded,
    LoadFailed,
    Loading,
    Paused,
    PrepareDone,
    Spelled,
    TextEvent,
    TextReady,
    Tick,
    WorkerReady,
)

Key = TypeVar("Key")
Answer = TypeVar("Answer")
In = TypeVar("In")

# How long torch's threads spin at the end of each operator before they sleep, some 10 us. By default
# it is milliseconds: with anything else on the cores they then spin against the very thread that they
# wait for, and each operator takes 8 ms instead of 0.03. Not to spin at all halves the speed when alone.
WORKER_ENVIRONMENT = {"GOMP_SPINCOUNT": "10000"}


DISCARD_SECONDS = 0.05
"""How long tickets that are given back wait for others, which then go in the same frame."""


class Calls(Generic[Key, Answer]):
    """Questions in flight: each is answered, refused, or failed when its process is lost."""

    def __init__(self) -> None:
        self._waiting: dict[Key, asyncio.Future[Answer]] = {}

    def open(self, key: Key) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        return future

    def answer(self, key: Key, answer: Answer) -> None:
        future = self._waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_result(answer)

    def refuse(self, key: Key, failure: Failure) -> None:
        future = self._waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_exception(failure.error())

    def settle(self, key: Key, answer: Answer | None, failure: Failure | None) -> None:
        if answer is not None:
            self.answer(key, answer)
        else:
            self.refuse(key, failure or Failure("internal", "an empty answer"))

    def fail_all(self, failure: Failure) -> None:
        for key in list(self._waiting):
            self.refuse(key, failure)


class Inbox:
    """What has come for one stream. An `asyncio.Queue` without its bounds and its many getters."""

    def __init__(self) -> None:
        self._items: deque[Delta | Failure] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: Delta | Failure) -> None:
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Delta | Failure:
        """The next, as soon as there is one. For one caller at a time."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()


class Link(Generic[In]):
    """One process of ours: how to tell it something, and what to say when it is gone."""

    def __init__(self, launcher: Launcher, program: Program, lost: Failure) -> None:
        self.lost = lost
        self.ready = asyncio.Event()
        self.supervisor = Supervisor[In](launcher, program, self.on_event, self.on_lost)

    def on_event(self, event: In) -> None:
        """A frame came from the process."""
        raise NotImplementedError

    async def on_lost(self) -> None:
        """The process died: fails what it was asked."""
        self.ready.clear()

    def send(self, message: Struct) -> None:
        """Queues a message; raises if the process is not there to read it."""
        channel = self.supervisor.channel
        if channel is None or not self.ready.is_set():
            raise self.lost.error()
        channel.send(message)

    def send_if_alive(self, message: Struct) -> None:
        """For what a dead process has no need to hear."""
        if self.supervisor.channel is not None and self.ready.is_set():
            self.send(message)


class WorkerLink(Link[Event]):
    """The worker of one device."""

    def __init__(
        self,
        device: Device,
        socket: Path,
        dtype: DType,
        launcher: Launcher,
        *,
        images: ImageCache,
        host: HostMemory,
        threads: int | None = None,
        kv_dtype: KVDType = "auto",
        speculate: int = 0,
        kinds: Sequence[str] = ("cpu",),
    ) -> None:
        """kinds: of all of the engine's devices, those that models are to prefer first."""
        arguments = ["--socket", str(socket), "--device", device.name]
        arguments += [
            "--memory",
            str(device.memory_bytes),
            "--dtype",
            dtype,
            "--kv-dtype",
            kv_dtype,
        ]
        arguments += ["--image-cache", images.folder]
        if images.max_bytes is not None:
            arguments += ["--image-cache-bytes", str(images.max_bytes)]
        for name, value in (("warm", host.warm_bytes), ("parked", host.parked_bytes)):
            arguments += [] if value is None else [f"--{name}-bytes", str(value)]
        arguments += [] if threads is None else ["--threads", str(threads)]
        arguments += ["--speculate", str(speculate)] if speculate else []
        arguments += ["--kinds", ",".join(kinds), "--host-shares", str(host.shares)]
        if device.kind != "cpu":
            name = f"{device.kind}:{device.uuid}" if device.uuid else device.name
            arguments += ["--accelerator", name]
        lost = Failure("worker_lost", f"the worker of {device.name} died; it is being restarted")
        program = Program(device.name, "engine.worker", arguments, Event, WORKER_ENVIRONMENT)
        super().__init__(launcher, program, lost)
        self.device = device
        self.socket = socket
        self.last_tick = time.monotonic()
        self.inspections: Calls[int, ModelCard] = Calls()
        self.loads: Calls[int, LoadReport] = Calls()
        self.evictions: Calls[int, bool] = Calls()
        self.pauses: Calls[int, bool] = Calls()
        self.stats = DeviceStats()
        self.progress: dict[int, Callable[[float], None]] = {}
        self.when_ready: Callable[[WorkerLink], None] = lambda _: None
        self.when_lost: list[Callable[[str], None]] = []

    def on_event(self, event: Event) -> None:
        match event:
            case WorkerReady():
                self.last_tick = time.monotonic()
                self.ready.set()
                self.when_ready(self)
            case Inspected():
                self.inspections.settle(event.call, event.card, event.failure)
            case Loading():
                if progress := self.progress.get(event.handle):
                    progress(event.fraction)
            case Loaded():
                self.loads.answer(event.handle, event.report)
            case LoadFailed():
                self.loads.refuse(event.handle, event.failure)
            case Evicted():
                self.evictions.answer(event.handle, True)
            case Paused():
                self.pauses.answer(event.handle, True)
            case Tick():
                self.last_tick = time.monotonic()
                self.stats = event.stats

    async def on_lost(self) -> None:
        await super().on_lost()
        for callback in self.when_lost:
            callback(self.device.name)
        self.inspections.fail_all(self.lost)
        self.loads.fail_all(self.lost)
        self.evictions.fail_all(self.lost)
        self.pauses.fail_all(self.lost)
        self.stats = DeviceStats()


class TextLink(Link[TextEvent]):
    """The text process."""

    def __init__(self, launcher: Launcher) -> None:
        lost = Failure("text_lost", "the text process died; it is being restarted")
        super().__init__(launcher, Program("text", "engine.text", (), TextEvent), lost)
        self.prepares: Calls[int, Prepared] = Calls()
        self.checks: Calls[int, bool] = Calls()
        self.spellings: Calls[int, Spelling] = Calls()
        self.streams: dict[int, Inbox] = {}
        self.when_ready: Callable[[], None] = lambda: None
        self._discarded: list[int] = []

    def discard(self, ticket: int) -> None:
        """Gives a ticket back soon. To wake the process at once would hold up the reply that ends."""
        self._discarded.append(ticket)
        if len(self._discarded) == 1:
            asyncio.get_running_loop().call_later(DISCARD_SECONDS, self._send_discarded)

    def _send_discarded(self) -> None:
        if self._discarded:
            self.send_if_alive(Discard(self._discarded))
            self._discarded = []

    def on_event(self, event: TextEvent) -> None:
        match event:
            case TextReady():
                self.ready.set()
                self.when_ready()
            case Checked(call, None):
                self.checks.answer(call, True)
            case Checked(call, failure):
                self.checks.settle(call, None, failure)
            case PrepareDone():
                self.prepares.settle(event.call, event.prepared, event.failure)
            case Spelled():
                self.spellings.settle(event.call, event.spelling, event.failure)
            case Deltas():
                for stream, delta in event.deltas:
                    if inbox := self.streams.get(stream):
                        inbox.put(delta)

    async def on_lost(self) -> None:
        await super().on_lost()
        self.prepares.fail_all(self.lost)
        self.checks.fail_all(self.lost)
        self.spellings.fail_all(self.lost)
        self._discarded = []  # the next one counts tickets anew
        for inbox in self.streams.values():
            inbox.put(self.lost)
