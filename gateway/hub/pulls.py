"""The pulls of a running server: each a process, started once for all who want the same model."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from gateway.hub.access import Access
from gateway.hub.child import Order
from gateway.hub.errors import HubError
from gateway.hub.reference import Reference
from gateway.hub.reports import AnyReport, Done, Failed, Report
from gateway.hub.tally import Tally

MAX_AT_ONCE = 2
MAX_WAITING = 16
MAX_UNREAD = 256
"""Reports that a listener may leave unread; of more it misses some."""

MAX_LINE_BYTES = 2**20
"""Of a report, which may name many files."""

log = structlog.get_logger()
_report: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)

OnReport = Callable[["Pull", Report], None]


@dataclass(eq=False)
class Pull:
    """One that is under way. is_kept: it goes on though nobody listens.

    tally: how far it is. outcome: `Done`, once it is there; raises `HubError` otherwise.
    """

    reference: Reference
    outcome: "asyncio.Future[Done]"
    is_kept: bool = False
    tally: Tally = field(default_factory=Tally)
    listeners: set["asyncio.Queue[Report | None]"] = field(default_factory=set)

    @property
    def name(self) -> str:
        return str(self.reference)

    def tell(self, report: Report) -> None:
        self.tally.tell(report)
        for listener in self.listeners:
            if listener.qsize() < MAX_UNREAD:
                listener.put_nowait(report)

    def end(self) -> None:
        for listener in self.listeners:
            listener.put_nowait(None)


class Pulls:
    """`start` and `cancel`; `close` once, which ends them all. on_report: is told of all that they say.

    What a process of theirs has brought by its end stays there for the next.
    """

    def __init__(self, models_dir: Path, access: Callable[[], Access], on_report: OnReport) -> None:
        self._models_dir = models_dir
        self._access = access
        self._on_report = on_report
        self._running: dict[str, Pull] = {}
        self._limit = asyncio.Semaphore(MAX_AT_ONCE)

    @property
    def running(self) -> list[Pull]:
        return [*self._running.values()]

    def start(self, reference: Reference, *, is_kept: bool = True) -> Pull:
        """The pull of this reference; one that is under way already is joined.

        Raises `HubError` when too many wait.
        """
        pull = self._running.get(_key(reference))
        if pull is None:
            if len(self._running) >= MAX_AT_ONCE + MAX_WAITING:
                raise HubError("busy", "as many models as may wait are on their way already")
            pull = self._begin(reference)
        pull.is_kept |= is_kept
        return pull

    def cancel(self, name: str) -> bool:
        """Whether a pull of that name, as it was asked for, was under way."""
        pull = self._running.get(name.casefold())
        return pull.outcome.cancel() if pull else False

    async def follow(self, pull: Pull) -> AsyncGenerator[Report, None]:
        """Its reports from now on, up to `Done`. Raises `HubError` when it fails.

        A pull that nobody keeps ends when its last listener leaves.
        """
        with _listening(pull) as reports:
            while not pull.outcome.done() and (report := await reports.get()):
                yield report
        await self.finished(pull)

    async def finished(self, pull: Pull) -> Done:
        """What came of it. Raises `HubError`."""
        await asyncio.wait({pull.outcome})
        if pull.outcome.cancelled():
            raise HubError("cancelled", f"the pull of {pull.name} was cancelled")
        return pull.outcome.result()

    async def close(self) -> None:
        for pull in self.running:
            pull.outcome.cancel()
        await asyncio.gather(*(p.outcome for p in self.running), return_exceptions=True)

    def _begin(self, reference: Reference) -> Pull:
        pull = Pull(reference, asyncio.get_running_loop().create_future())
        pull.outcome = asyncio.create_task(self._run(pull), name=f"pull-{reference}")
        self._running[_key(reference)] = pull
        pull.outcome.add_done_callback(lambda _: self._ended(pull))
        return pull

    def _ended(self, pull: Pull) -> None:
        del self._running[_key(pull.reference)]
        pull.end()
        if pull.outcome.cancelled():
            self._on_report(pull, Failed("cancelled", "cancelled"))
        elif error := pull.outcome.exception():
            log.warning("pull_failed", model=pull.name, reason=str(error))
            if isinstance(error, HubError):
                self._on_report(pull, Failed(error.code, error.message))

    async def _run(self, pull: Pull) -> Done:
        async with self._limit:
            log.info("pull_started", model=pull.name)
            process = await _start(self._order(pull.reference))
            try:
                return await self._read(pull, process)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _read(self, pull: Pull, process: Process) -> Done:
        assert process.stdout, "it was started with a pipe"
        async for line in process.stdout:
            report = _report.decode(line)
            if isinstance(report, Failed):
                raise HubError(report.code, report.message)
            pull.tell(report)
            self._on_report(pull, report)
            if isinstance(report, Done):
                log.info("pull_done", model=report.model, bytes=report.fetched_bytes)
                return report
        raise HubError("unreachable", f"the process that pulled {pull.name} died")

    def _order(self, reference: Reference) -> Order:
        access, models_dir = self._access(), str(self._models_dir.absolute())
        where = (access.endpoint, access.is_offline)
        return Order(models_dir, reference.repo, reference.choice, reference.revision, *where)


def _key(reference: Reference) -> str:
    return str(reference).casefold()


@contextmanager
def _listening(pull: Pull) -> Iterator["asyncio.Queue[Report | None]"]:
    reports: asyncio.Queue[Report | None] = asyncio.Queue()
    pull.listeners.add(reports)
    try:
        yield reports
    finally:
        pull.listeners.discard(reports)
        if not pull.listeners and not pull.is_kept:
            pull.outcome.cancel()


async def _start(order: Order) -> Process:
    """Its standard input stays open as long as it may live."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.hub.child"), stdin=PIPE, stdout=PIPE, limit=MAX_LINE_BYTES
    )
    assert process.stdin, "it was started with a pipe"
    process.stdin.write(msgspec.json.encode(order) + b"\n")
    return process
