"""The asyncio side of a worker: sockets in front, the step loop and loads behind."""

import asyncio
import os
import socket
from collections.abc import Coroutine, Hashable, Sequence
from pathlib import Path
from typing import Any, cast

import structlog
import torch

from engine.api import DType, HostMemory, KVDType
from engine.cache.caches import Caches
from engine.channel import Channel
from engine.core.device import compute_dtype, device_dtype, num_threads
from engine.core.loop import StepLoop
from engine.core.work import Drop
from engine.core.work import Pause as PauseModel
from engine.devices import Accelerator
from engine.doctor import kernels_on_gpus, native
from engine.kernels.cpu.calls import shared_threads
from engine.kernels.cpu.library import is_available
from engine.kernels.triton import install as triton
from engine.residency.image_store import ImageStore
from engine.residency.sidecar import Sidecars
from engine.wire import (
    CancelLoad,
    Command,
    Event,
    Evict,
    Evicted,
    Inspect,
    Load,
    Output,
    Pause,
    Paused,
    Start,
    Step,
    Stop,
    Tick,
    Vocabulary,
    Work,
    WorkerReady,
)
from engine.worker.background import let_steps_in
from engine.worker.beginnings import Beginnings
from engine.worker.group import Groups
from engine.worker.inspector import Inspector
from engine.worker.loads import Loads
from engine.worker.memory import give_back_memory, keep_what_is_here
from engine.worker.models import Models

log = structlog.get_logger()

TextChannel = Channel[Work]


class Worker:
    """Carries out the gateway's commands and the text processes' work on one device.

    A text connection owns the sequences that it started: its end is theirs.
    """

    def __init__(
        self,
        control: Channel[Command],
        *,
        device: str,
        memory_bytes: int,
        dtype: DType,
        images: ImageStore,
        host: HostMemory,
        threads: int | None = None,
        kv_dtype: KVDType = "auto",
        speculate: int = 0,
        accelerator: Accelerator | None = None,
        kinds: Sequence[str] = ("cpu",),
    ) -> None:
        """accelerator: where the device is not the CPU. kinds: as of `engine.inspect`."""
        self._control = control
        self._device, self._memory_bytes = device, memory_bytes
        self._dtype, self._num_threads = compute_dtype(dtype), threads or num_threads()
        self._kernels = native
        if accelerator is not None:
            self._dtype, self._kernels = device_dtype(dtype), kernels_on_gpus
            if triton.is_available():
                triton.install(accelerator.device.type)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._inspector = Inspector(dtype, kv_dtype, Sidecars(images.folder), kinds)
        self._steps = StepLoop(
            reply=self,
            on_tick=lambda stats: self._post(Tick(self._models.counted(stats))),
            on_crash=lambda: os._exit(1),  # the supervisor starts a new one
            on_start=self._prepare_steps,
        )
        self._beginnings = Beginnings(self._steps.put)
        self._models = Models(
            *(self._dtype, images, host, memory_bytes, kv_dtype),
            accelerator=accelerator,
            on_lost=lambda: os._exit(1),
        )
        self._groups = Groups(
            self._num_threads, torch.device("cpu") if accelerator is None else accelerator.device
        )
        self._loads = Loads(
            *(self._models, self._num_threads, self._steps.put, self._post),
            speculate=speculate,
            groups=self._groups,
        )

    async def run(self, path: Path) -> None:
        """Listens at `path`, and returns when the gateway's end of the control channel closes."""
        server = await self._loop.create_unix_server(
            lambda: TextChannel(cast("Any", Work), self._welcome), sock=_bind(path)
        )
        let_steps_in()
        keep_what_is_here()
        self._steps.start()
        name = str(self._dtype).removeprefix("torch.")
        self._control.send(WorkerReady(self._device, self._memory_bytes, name))
        log.info("worker_ready", device=self._device, dtype=name, threads=self._num_threads)
        kernels = self._kernels()
        if kernels.lost:
            event = kernels.name.replace(" ", "_")
            log.warning(event, found=kernels.value, lost=kernels.lost)
        await self._control.each(self._obey)
        server.close()

    def _obey(self, command: Command) -> None:
        match command:
            case Inspect():
                self._background(self._inspect(command))
            case Load(order, seat):
                self._loads.start(order, seat)
            case CancelLoad(handle):
                self._loads.cancel(handle)
            case Evict(handle):
                self._put_after_load(Drop(handle))
            case Pause(handle):
                self._put_after_load(PauseModel(handle))

    def _put_after_load(self, work: Drop | PauseModel) -> None:
        """What takes a model away cancels its load, and is true only once that has ended."""
        if self._loads.is_loading(work.handle):
            self._background(self._end_load(work))
        else:
            self._steps.put(work)

    async def _end_load(self, work: Drop | PauseModel) -> None:
        await asyncio.to_thread(self._loads.end, work.handle)
        self._steps.put(work)

    async def _inspect(self, asked: Inspect) -> None:
        self._control.send(await self._inspector.inspect(asked))

    def _welcome(self, channel: TextChannel) -> None:
        self._background(self._serve_text(channel))

    async def _serve_text(self, channel: TextChannel) -> None:
        def take(work: Work) -> None:
            match work:
                case Vocabulary():
                    self._beginnings.learn(channel, work)
                case Start():
                    self._beginnings.begin(channel, work)
                case Stop(sequences):
                    self._beginnings.end(channel, sequences)

        try:
            await channel.each(take)
        except ValueError:
            log.exception("text_spoke_nonsense")
        finally:
            self._beginnings.end(channel, None)
            channel.close()

    # --- called on other threads ----------------------------------------------------------------

    def outputs(self, owner: Hashable, outputs: list[Output]) -> None:
        cast("TextChannel", owner).post(Step(outputs))

    def dropped(self, handle: int, caches: Caches | None) -> None:
        lost = self._models.park(handle, caches, is_paused=False)
        self._let_go(handle, lost, Evicted(handle))

    def paused(self, handle: int, caches: Caches | None) -> None:
        lost = self._models.park(handle, caches, is_paused=True)
        self._let_go(handle, lost, Paused(handle))

    def _let_go(self, handle: int, lost: list[Caches], event: Event) -> None:
        self._loop.call_soon_threadsafe(
            lambda: self._background(self._give_back(handle, lost, event))
        )

    def _prepare_steps(self) -> None:
        torch.set_num_threads(self._num_threads)  # kept per thread
        if is_available():
            shared_threads()  # else the first load's thread would make them, in the background

    def _post(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._control.send, event)

    # --- tasks ----------------------------------------------------------------------------------

    async def _give_back(self, handle: int, lost: list[Caches], event: Event) -> None:
        await asyncio.to_thread(self._close, handle, lost)
        self._control.send(event)

    def _close(self, handle: int, lost: list[Caches]) -> None:
        self._groups.end(handle)
        for caches in lost:
            caches.discard()
        lost.clear()
        # What stays warm leaves nothing to collect that matters, and a swap waits for this.
        if self._models.close(handle):
            give_back_memory()
        self._models.look_at_memory()

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
