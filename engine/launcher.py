"""Starts engine processes and keeps them alive. The seam where other launchers (Ray) slot in."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import structlog

from engine.channel import Channel

In = TypeVar("In")

log = structlog.get_logger()

FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
EXIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to start: a module that takes `--control-fd`, and the union of the frames it sends."""

    name: str
    module: str
    arguments: Sequence[str]
    incoming: Any
    environment: Mapping[str, str] = field(default_factory=dict)


class Process(Protocol, Generic[In]):
    """A started process and its control channel, whose closing ends it."""

    @property
    def pid(self) -> int: ...

    @property
    def channel(self) -> Channel[In]: ...

    async def end(self) -> int:
        """Closes the channel, waits, kills what does not leave; returns the exit status."""


class Launcher(Protocol):
    async def launch(self, program: Program) -> Process[Any]: ...


@dataclass(frozen=True, slots=True)
class LocalProcess(Generic[In]):
    process: asyncio.subprocess.Process
    channel: Channel[In]

    @property
    def pid(self) -> int:
        return self.process.pid

    async def end(self) -> int:
        self.channel.close()
        try:
            return await asyncio.wait_for(self.process.wait(), EXIT_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            return await self.process.wait()


class LocalLauncher:
    """Processes on this host, each in a session of its own, so that Ctrl-C drains the gateway."""

    async def launch(self, program: Program) -> LocalProcess[Any]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", program.module),
                *("--control-fd", str(theirs.fileno())),
                *program.arguments,
                env={**os.environ, **program.environment},
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        return LocalProcess(process, await Channel.over(ours, program.incoming))


@dataclass(slots=True)
class Backoff:
    """Seconds to wait before each restart: doubling, and forgiven after a healthy life."""

    delay_seconds: float = FIRST_RETRY_SECONDS

    def after(self, lived_seconds: float) -> float:
        if lived_seconds >= HEALTHY_SECONDS:
            self.delay_seconds = FIRST_RETRY_SECONDS
        delay = self.delay_seconds
        self.delay_seconds = min(2 * delay, LAST_RETRY_SECONDS)
        return delay


@dataclass(slots=True)
class Supervisor(Generic[In]):
    """Keeps one program running until `stop`.

    on_event gets each frame; on_lost is awaited when the process has ended unasked, before it is
    started anew.
    """

    launcher: Launcher
    program: Program
    on_event: Callable[[In], None]
    on_lost: Callable[[], Awaitable[None]]
    process: Process[In] | None = None
    _backoff: Backoff = field(default_factory=Backoff)
    _task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name=f"supervise {self.program.name}")

    async def stop(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def channel(self) -> Channel[In] | None:
        return self.process.channel if self.process else None

    async def _supervise(self) -> None:
        while True:
            started = time.monotonic()
            await self._live_once()
            delay = self._backoff.after(time.monotonic() - started)
            await asyncio.sleep(delay)

    async def _live_once(self) -> None:
        process = await self.launcher.launch(self.program)
        self.process = process
        log.info("process_started", name=self.program.name, pid=process.pid)
        try:
            await process.channel.each(self.on_event)
        except (ValueError, OSError):
            log.exception("process_spoke_nonsense", name=self.program.name, pid=process.pid)
        finally:
            self.process = None
            status = await asyncio.shield(process.end())
            log.info("process_ended", name=self.program.name, pid=process.pid, status=status)
        await self.on_lost()
