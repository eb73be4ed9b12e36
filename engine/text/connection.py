"""The connection to one worker."""

import asyncio
from collections.abc import Callable

import structlog

from engine.api import Failure
from engine.channel import Channel
from engine.text.generations import Generations, StreamDeltas
from engine.wire import Step, Stop, Vocabulary, Work

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
RETRY_SECONDS = 0.05


class WorkerConnection:
    """Tells a worker what to run, and hands on what comes of it until it is lost or closed.

    Work may be sent from the start: it waits until the worker has answered the door.
    """

    def __init__(self, device: str, socket: str, on_deltas: Callable[[StreamDeltas], None]) -> None:
        self.device = device
        self.generations = Generations()
        self.is_lost = False
        self._socket = socket
        self._on_deltas = on_deltas
        self._channel: Channel[Step] | None = None
        self._waiting: list[Work] = []
        self._known: set[str] = set()
        self._task = asyncio.create_task(self._run(), name=f"worker {device}")

    @property
    def failure(self) -> Failure:
        return Failure("worker_lost", f"the worker of {self.device} was lost")

    def send(self, work: Work) -> None:
        if self._channel is None:
            self._waiting.append(work)
        else:
            self._channel.send(work)

    def introduce(self, vocabulary: Vocabulary) -> None:
        """Sends what grammars are over, unless the worker has it."""
        if vocabulary.key not in self._known:
            self._known.add(vocabulary.key)
            self.send(vocabulary)

    def close(self) -> None:
        """Leaves the worker; every sequence on it ends with a failure."""
        self._task.cancel()
        self._lose()

    async def _run(self) -> None:
        try:
            self._channel = await self._connect()
            for work in self._waiting:
                self._channel.send(work)
            self._waiting.clear()
            await self._channel.each(self._take)
        except (OSError, ValueError) as error:
            log.warning("worker_connection_failed", device=self.device, error=str(error))
        finally:
            self._lose()

    async def _connect(self) -> Channel[Step]:
        """Tries until the worker listens; raises `OSError` if it does not get there in time."""
        async with asyncio.timeout(CONNECT_SECONDS):
            while True:
                try:
                    return await Channel.to(self._socket, Step)
                except (FileNotFoundError, ConnectionRefusedError):
                    await asyncio.sleep(RETRY_SECONDS)

    def _take(self, step: Step) -> None:
        deltas, stops = self.generations.step(step.outputs)
        if deltas:
            self._on_deltas(deltas)
        if stops:
            self.send(Stop(stops))

    def _lose(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self._channel is not None:
            self._channel.close()
        if deltas := self.generations.fail_all(self.failure):
            self._on_deltas(deltas)
