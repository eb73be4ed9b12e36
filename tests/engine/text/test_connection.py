import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.api import Generation, Run
from engine.channel import Channel
from engine.text import connection as connection_module
from engine.text.connection import WorkerConnection
from engine.text.prompts import PreparedPrompt
from engine.wire import Output, Start, Step, Stop, Work


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A path short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="rh-"))
    yield folder / "worker.sock"
    shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def listening(path: Path) -> AsyncIterator[asyncio.Queue[Channel[Any]]]:
    """A worker's door; who comes in is put into the queue."""
    visitors: asyncio.Queue[Channel[Any]] = asyncio.Queue()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: Channel(Work, visitors.put_nowait), path
    )
    async with server:
        yield visitors


class Worker:
    """A connection under test, and what it handed on."""

    def __init__(self, path: Path, prompt: PreparedPrompt) -> None:
        self.prompt = prompt
        self.deltas: asyncio.Queue[Any] = asyncio.Queue()
        self.connection = WorkerConnection("cpu", str(path), self.deltas.put_nowait)

    def start(self, stream: int = 1, **generation: object) -> int:
        run = Run(0, 1, Generation(9, **generation))
        start = self.connection.generations.start(stream, 5, run, self.prompt)
        self.connection.send(start)
        return start.sequence


@pytest.fixture
def impatience(monkeypatch) -> None:
    """It is given up soon."""
    monkeypatch.setattr(connection_module, "CONNECT_SECONDS", 0.1)


@pytest.fixture
async def worker(socket_path, byte_level) -> AsyncIterator[Worker]:
    worker = Worker(socket_path, PreparedPrompt(byte_level, [1, 2]))
    yield worker
    worker.connection.close()


async def test_work_waits_for_the_worker(worker, socket_path):
    """What is sent before the worker listens reaches it, in order."""
    sequences = [worker.start(), worker.start()]

    async with listening(socket_path) as visitors:
        channel = await visitors.get()
        received = [await channel.receive() for _ in sequences]
        channel.close()

    assert [start.sequence for start in received] == sequences
    assert all(isinstance(start, Start) for start in received)


async def test_a_step_is_one_batch_of_deltas(worker, socket_path):
    """All outputs of a step are handed on together, and stop strings answered."""
    one, two = worker.start(1), worker.start(2, stop=("A",))
    (letter,) = worker.prompt.tokenizer.encode("A", add_bos=False, allow_special=False)

    async with listening(socket_path) as visitors:
        channel = await visitors.get()
        outputs = [Output(i, [letter], [], [], None) for i in (one, two)]
        channel.send(Step(outputs))
        deltas = await worker.deltas.get()
        received = [await channel.receive() for _ in range(3)]
        channel.close()

    assert [(stream, delta.text, delta.finish_reason) for stream, delta in deltas] == [
        (1, "A", None),
        (2, "", "stop"),
    ]
    assert received[-1] == Stop([two])


async def test_a_worker_that_hangs_up_fails_its_sequences(worker, socket_path):
    """The streams end with an error, not with silence."""
    worker.start()

    async with listening(socket_path) as visitors:
        (await visitors.get()).close()
        [(stream, delta)] = await worker.deltas.get()

    assert (stream, delta.failure.code) == (1, "worker_lost")
    assert worker.connection.is_lost


async def test_a_worker_that_talks_nonsense_is_left(worker, socket_path):
    """A frame that is no step ends the connection as a loss."""
    worker.start()

    with capture_logs() as logs:
        async with listening(socket_path) as visitors:
            channel = await visitors.get()
            channel.send(Stop([1]))
            [(_, delta)] = await worker.deltas.get()
            channel.close()

    assert delta.failure.code == "worker_lost"
    assert [line["event"] for line in logs] == ["worker_connection_failed"]


async def test_a_worker_that_never_listens_is_given_up(impatience, worker):
    """After a bounded wait its sequences fail."""
    worker.start()

    with capture_logs():
        [(_, delta)] = await worker.deltas.get()

    assert delta.failure.code == "worker_lost"


async def test_closing_fails_what_still_runs(worker):
    """Also while it has not come to a connection yet."""
    worker.start()

    worker.connection.close()

    [(_, delta)] = await worker.deltas.get()
    assert delta.failure.code == "worker_lost"
