"""The asyncio side of a worker: sockets in front, the step loop and loads behind."""

import asyncio
import os
import socket
from collections.abc import Coroutine, Hashable
from pathlib import Path
from typing import Any, cast

import structlog
import torch

from engine.api import DeviceStats
from engine.core.device import DType, compute_dtype, num_threads
from engine.core.loop import StepLoop
from engine.core.resident import Resident
from engine.core.work import Add, Begin, Drop, End
from engine.doctor import native
from engine.residency.image_store import ImageStore
from engine.wire import (
    CancelLoad,
    Channel,
    Command,
    Event,
    Evict,
    Evicted,
    Inspect,
    Load,
    Output,
    Start,
    Step,
    Stop,
    Tick,
    Work,
    WorkerReady,
)
from engine.worker.inspector import Inspector
from engine.worker.loads import Loads
from engine.worker.memory import give_back_memory

log = structlog.get_logger()

TextChannel = Channel[Work]


class Worker:
    """Carries out the gateway's commands and the text processes' work on one device.

    A text connection owns the sequences that it started: its end is theirs.
    """

    def __init__(
        self,
        control: Channel[Command],
        device: str,
        memory_bytes: int,
        dtype: DType,
        images: ImageStore,
    ) -> None:
        self._control = control
        self._device, self._memory_bytes = device, memory_bytes
        self._dtype, self._num_threads = compute_dtype(dtype), num_threads()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._inspector = Inspector(dtype)
        self._steps = StepLoop(
            reply=self,
            on_tick=lambda steps: self._post(Tick(DeviceStats(steps))),
            on_crash=lambda: os._exit(1),  # the supervisor starts a new one
            on_start=lambda: torch.set_num_threads(self._num_threads),  # kept per thread
        )
        self._loads = Loads(self._dtype, self._num_threads, images, self._add, self._post)

    async def run(self, path: Path) -> None:
        """Listens at `path`, and returns when the gateway's end of the control channel closes."""
        server = await asyncio.start_unix_server(self._serve_text, sock=_bind(path))
        self._steps.start()
        name = str(self._dtype).removeprefix("torch.")
        self._control.send(WorkerReady(self._device, self._memory_bytes, name))
        log.info("worker_ready", device=self._device, dtype=name, threads=self._num_threads)
        kernels = native()
        if kernels.lost:
            log.warning("native_kernels", found=kernels.value, lost=kernels.lost)
        while (command := await self._control.receive()) is not None:
            self._obey(command)
        server.close()

    def _obey(self, command: Command) -> None:
        match command:
            case Inspect(call, path):
                self._background(self._inspect(call, path))
            case Load(order):
                self._loads.start(order)
            case CancelLoad(handle):
                self._loads.cancel(handle)
            case Evict(handle):
                self._steps.put(Drop(handle))

    async def _inspect(self, call: int, path: str) -> None:
        self._control.send(await self._inspector.inspect(call, path))

    async def _serve_text(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = TextChannel(reader, writer, cast("Any", Work))
        try:
            while (work := await channel.receive()) is not None:
                match work:
                    case Start():
                        self._steps.put(Begin(channel, work))
                    case Stop(sequences):
                        self._steps.put(End(channel, sequences))
        except ValueError:
            log.exception("text_spoke_nonsense")
        finally:
            self._steps.put(End(channel, None))
            channel.close()

    # --- called on other threads ----------------------------------------------------------------

    def outputs(self, owner: Hashable, outputs: list[Output]) -> None:
        channel = cast("TextChannel", owner)
        self._loop.call_soon_threadsafe(channel.send, Step(outputs))

    def dropped(self, handle: int) -> None:
        self._loop.call_soon_threadsafe(lambda: self._background(self._give_back(handle)))

    def _add(self, handle: int, resident: Resident) -> None:
        self._steps.put(Add(handle, resident))

    def _post(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._control.send, event)

    # --- tasks ----------------------------------------------------------------------------------

    async def _give_back(self, handle: int) -> None:
        await asyncio.to_thread(give_back_memory)
        self._control.send(Evicted(handle))

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)  # the event loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)


def _bind(path: Path) -> socket.socket:
    """A Unix socket that only this user may connect to."""
    path.unlink(missing_ok=True)  # left behind by a worker that was killed
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(mask)
    return bound
