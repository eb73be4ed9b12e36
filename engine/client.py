"""The engine as the gateway holds it: a text process, a worker per device, and their calls."""

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing

import msgspec

from engine.api import (
    Delta,
    Device,
    DType,
    EngineError,
    EngineStatus,
    Failure,
    Grammar,
    HostMemory,
    ImageCache,
    KVDType,
    LoadOrder,
    LoadReport,
    ModelCard,
    Prepared,
    Prompt,
    Run,
    Spelling,
    TextSource,
)
from engine.launcher import Launcher, LocalLauncher
from engine.links import Inbox, TextLink, WorkerLink
from engine.run_folder import make_run_folder
from engine.spread import SpreadModels
from engine.wire import (
    Attach,
    Cancel,
    CancelLoad,
    Check,
    Embed,
    Evict,
    Generate,
    Inspect,
    Load,
    Pause,
    Prepare,
    Spell,
)

START_SECONDS = 120.0


class LocalEngine:
    """`engine.api.Engine` over processes on this host. They end when this process does."""

    def __init__(
        self,
        devices: Sequence[Device],
        dtype: DType = "auto",
        launcher: Launcher | None = None,
        images: ImageCache | None = None,
        host: HostMemory | None = None,
        *,
        threads: int | None = None,
        kv_dtype: KVDType = "auto",
        speculate: int = 0,
    ) -> None:
        """threads: what each worker computes with; None is all that there are.

        speculate: how many tokens a sequence guesses ahead at most.

        All, even for several workers of one machine: a worker that has nothing to do sleeps, and
        while one swaps the other should not have to do with half of the cores.
        """
        self._devices = tuple(devices)
        self._numbers = itertools.count(1)
        self._folder = make_run_folder()
        launcher = launcher or LocalLauncher()
        self._text = TextLink(launcher)
        self._text.when_ready = self._attach_all
        self._workers = {
            device.name: WorkerLink(
                device,
                self._folder / f"worker-{number}.sock",
                dtype,
                launcher,
                images=images or ImageCache(),
                host=_share_of(host or HostMemory(), device, self._devices),
                threads=threads,
                kv_dtype=kv_dtype,
                speculate=speculate,
                kinds=sorted({each.kind for each in self._devices}, key=lambda kind: kind == "cpu"),
            )
            for number, device in enumerate(self._devices)
        }
        for worker in self._workers.values():
            worker.when_ready = self._attach
        self._spread = SpreadModels(self._workers, self._folder)

    async def start(self) -> None:
        """Starts every process and waits until each is ready; raises if one does not get there."""
        for link in self._links:
            link.supervisor.start()
        try:
            async with asyncio.timeout(START_SECONDS):
                for link in self._links:
                    await link.ready.wait()
        except TimeoutError:
            late = [link.supervisor.program.name for link in self._links if not link.ready.is_set()]
            await self.stop()
            raise EngineError("internal", f"not ready in {START_SECONDS} s: {late}") from None

    async def stop(self) -> None:
        """Ends every process, by force if they do not leave within seconds."""
        await asyncio.gather(*(link.supervisor.stop() for link in self._links))
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _links(self) -> list[TextLink | WorkerLink]:
        return [self._text, *self._workers.values()]

    @property
    def devices(self) -> Sequence[Device]:
        return self._devices

    @property
    def can_spread(self) -> bool:
        return True

    @property
    def status(self) -> EngineStatus:
        now = time.monotonic()
        return EngineStatus(
            text_alive=self._text.ready.is_set(),
            workers={
                name: now - worker.last_tick
                for name, worker in self._workers.items()
                if worker.ready.is_set()
            },
            stats={name: worker.stats for name, worker in self._workers.items()},
        )

    def on_lost(self, callback: Callable[[str], None]) -> None:
        for worker in self._workers.values():
            worker.when_lost.append(callback)

    async def inspect(
        self,
        path: str,
        chat_template: str | None = None,
        dtype: DType = "auto",
        kv_dtype: KVDType = "auto",
    ) -> ModelCard:
        worker = next(iter(self._workers.values()))
        await worker.ready.wait()
        call = next(self._numbers)
        worker.send(Inspect(call, path, chat_template, dtype, kv_dtype))
        return await worker.inspections.open(call)

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        if order.others:
            return await self._spread.load(order, progress)
        worker = self._workers[order.device]
        await worker.ready.wait()
        worker.send(Load(order))
        worker.progress[order.handle] = progress
        answer = worker.loads.open(order.handle)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await self._cancel_load(worker, order.handle, answer)
            raise
        finally:
            worker.progress.pop(order.handle, None)

    async def _cancel_load(
        self, worker: WorkerLink, handle: int, answer: asyncio.Future[LoadReport]
    ) -> None:
        worker.send_if_alive(CancelLoad(handle))
        try:
            await answer
        except EngineError:
            return
        await self.evict(worker.device.name, handle)  # it had finished before it heard

    async def evict(self, device: str, handle: int) -> None:
        if handle in self._spread:
            await self._spread.evict(handle)
            return
        worker = self._workers[device]
        worker.send(Evict(handle))
        await worker.evictions.open(handle)

    async def pause(self, device: str, handle: int) -> None:
        if handle in self._spread:
            await self._spread.pause(handle)
            return
        worker = self._workers[device]
        worker.send(Pause(handle))
        await worker.pauses.open(handle)

    async def prepare(self, source: TextSource, prompt: Prompt) -> Prepared:
        await self._text.ready.wait()
        call = next(self._numbers)
        self._text.send(Prepare(call, source, prompt))
        answer = self._text.prepares.open(call)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(self._discard_late)
            raise

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        await self._text.ready.wait()
        call = next(self._numbers)
        self._text.send(Check(call, source, grammar))
        await self._text.checks.open(call)

    def _discard_late(self, answer: asyncio.Future[Prepared]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self.discard(answer.result().ticket)

    async def spell(self, ticket: int) -> Spelling:
        await self._text.ready.wait()
        call = next(self._numbers)
        self._text.send(Spell(call, ticket))
        return await self._text.spellings.open(call)

    def discard(self, ticket: int) -> None:
        self._text.discard(ticket)

    def generate(self, device: str, handle: int, runs: Sequence[Run]) -> AsyncIterator[Delta]:
        asked = Generate(next(self._numbers), device, handle, list(runs))
        return self._deltas(asked, [run.index for run in runs])

    async def embed(
        self, device: str, handle: int, tickets: Sequence[int], salt: str = ""
    ) -> list[bytes]:
        vectors = [b""] * len(tickets)
        asked = Embed(next(self._numbers), device, handle, list(tickets), salt)
        async with aclosing(self._deltas(asked, range(len(tickets)))) as deltas:
            async for delta in deltas:
                if delta.failure:
                    raise delta.failure.error()
                vectors[delta.index] = delta.vector
        return vectors

    async def _deltas(
        self, asked: Generate | Embed, indices: Iterable[int]
    ) -> AsyncGenerator[Delta, None]:
        """Of a stream that is asked for, until each of these has finished."""
        stream, inbox = asked.stream, Inbox()
        self._text.send(asked)
        self._text.streams[stream] = inbox
        running = set(indices)
        try:
            while running:
                delta = await inbox.get()
                if isinstance(delta, Failure):
                    running.clear()
                    raise delta.error()
                if delta.finish_reason or delta.failure:
                    running.discard(delta.index)
                yield delta
        finally:
            del self._text.streams[stream]
            if running:
                self._text.send_if_alive(Cancel(stream))

    def _attach(self, worker: WorkerLink) -> None:
        self._text.send_if_alive(Attach(worker.device.name, str(worker.socket)))

    def _attach_all(self) -> None:
        for worker in self._workers.values():
            if worker.ready.is_set():
                self._attach(worker)


def _share_of(host: HostMemory, device: Device, devices: Sequence[Device]) -> HostMemory:
    """What a worker may take: of a GPU as much as that of each other one; CPUs map the same files."""
    num_alike = sum(each.kind == device.kind for each in devices)
    return host if device.kind == "cpu" else msgspec.structs.replace(host, shares=num_alike)
