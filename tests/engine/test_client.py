"""The client over scripted processes: what it asks, how it answers, what a death does to both."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.api import (
    Delta,
    Device,
    EngineError,
    Failure,
    Generation,
    ImageCache,
    LoadOrder,
    LoadReport,
    ModelCard,
    Prepared,
    Run,
    TextPrompt,
    TextSource,
)
from engine.channel import Channel
from engine.client import LocalEngine
from engine.launcher import Program
from engine.wire import (
    Attach,
    Cancel,
    CancelLoad,
    Command,
    Deltas,
    Discard,
    Embed,
    Evict,
    Evicted,
    Generate,
    Inspect,
    Inspected,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Prepare,
    PrepareDone,
    TextCommand,
    TextReady,
    WorkerReady,
)

CARD = ModelCard("a.gguf", "d", "llama", "gguf", "Q8_0", 1, 1, 64, 32, ("completion",), ())
SOURCE = TextSource("a.gguf", "d", 32)
ORDER = LoadOrder(7, "cpu", "a.gguf", "dense", 64)


@dataclass
class ScriptedProcess:
    """The far end of a control channel, driven by the test."""

    channel: Channel[Any]
    far: Channel[Any]
    pid: int = 0

    async def end(self) -> int:
        self.channel.close()
        self.far.close()
        return 0


@dataclass
class ScriptedLauncher:
    """Starts scripted processes and remembers them by program name."""

    processes: dict[str, list[ScriptedProcess]] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)

    async def launch(self, program: Program) -> ScriptedProcess:
        self.arguments[program.name] = [*program.arguments]
        ours, theirs = socket.socketpair()
        heard = TextCommand if program.name == "text" else Command
        process = ScriptedProcess(
            await Channel.over(ours, program.incoming),
            await Channel.over(theirs, heard),
        )
        self.processes.setdefault(program.name, []).append(process)
        process.far.send(
            TextReady() if program.name == "text" else WorkerReady(program.name, 1 << 30, "float32")
        )
        return process

    def far(self, name: str) -> Channel[Any]:
        return self.processes[name][-1].far


@pytest.fixture
async def launcher() -> ScriptedLauncher:
    return ScriptedLauncher()


@pytest.fixture
async def engine(launcher: ScriptedLauncher) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine([Device("cpu", 1 << 30)], launcher=launcher)
    await engine.start()
    yield engine
    await engine.stop()


async def heard(channel: Channel[Any], kind: type) -> Any:
    """The next frame of this kind; others before it are passed over."""
    while (frame := await channel.receive()) is not None:
        if isinstance(frame, kind):
            return frame
    raise AssertionError(f"the channel ended before a {kind.__name__}")


async def test_inspect_answers_with_the_card(engine, launcher):
    """An answer reaches the call that asked."""
    call = asyncio.create_task(engine.inspect("a.gguf", "{{ x }}", "float32", "q8_0"))
    asked = await heard(launcher.far("cpu"), Inspect)
    launcher.far("cpu").send(Inspected(asked.call, CARD))

    assert asked == Inspect(asked.call, "a.gguf", "{{ x }}", "float32", "q8_0")
    assert await call == CARD


async def test_workers_hear_where_images_are_kept(launcher):
    """As the operator set it."""
    images = ImageCache("/somewhere", 1 << 30)
    engine = LocalEngine([Device("cpu", 1 << 30)], launcher=launcher, images=images)
    await engine.start()
    await engine.stop()

    arguments = " ".join(launcher.arguments["cpu"])
    assert f"--image-cache /somewhere --image-cache-bytes {1 << 30}" in arguments


async def test_workers_hear_what_they_are(launcher):
    """A GPU by its number, which no other can have; and what else there is, the CPU last."""
    devices = [Device("cpu", 1 << 30), Device("cuda:1", 1 << 30, "cuda", "GPU-7")]
    engine = LocalEngine(devices, launcher=launcher)
    await engine.start()
    await engine.stop()

    told = {name: " ".join(launcher.arguments[name]) for name in ("cpu", "cuda:1")}
    assert "--accelerator cuda:GPU-7" in told["cuda:1"]
    assert "--accelerator" not in told["cpu"]
    assert all("--kinds cuda,cpu" in each for each in told.values())


async def test_inspect_raises_what_the_worker_refused(engine, launcher):
    """A refusal arrives as an EngineError with its code."""
    call = asyncio.create_task(engine.inspect("a.gguf"))
    asked = await heard(launcher.far("cpu"), Inspect)
    launcher.far("cpu").send(Inspected(asked.call, None, Failure("bad_checkpoint", "no magic")))

    with pytest.raises(EngineError, match="no magic") as error:
        await call
    assert error.value.code == "bad_checkpoint"


async def test_load_reports_progress(engine, launcher):
    """Progress is heard while the load runs, and the report ends it."""
    fractions: list[float] = []
    call = asyncio.create_task(engine.load(ORDER, fractions.append))
    await heard(launcher.far("cpu"), Load)
    launcher.far("cpu").send(Loading(7, 0.5))
    launcher.far("cpu").send(Loaded(7, LoadReport(10, 20, 0.1)))

    assert await call == LoadReport(10, 20, 0.1)
    assert fractions == [0.5]


async def test_a_cancelled_load_waits_for_its_memory(engine, launcher):
    """Cancelling a load returns only when the worker has given the memory back."""
    call = asyncio.create_task(engine.load(ORDER, lambda _: None))
    far = launcher.far("cpu")
    await heard(far, Load)
    call.cancel()
    await heard(far, CancelLoad)

    assert not call.done()
    far.send(LoadFailed(7, Failure("internal", "cancelled")))
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_load_that_finished_before_its_cancel_is_evicted(engine, launcher):
    """A load that won the race against its own cancelling is undone."""
    call = asyncio.create_task(engine.load(ORDER, lambda _: None))
    far = launcher.far("cpu")
    await heard(far, Load)
    call.cancel()
    await heard(far, CancelLoad)
    far.send(Loaded(7, LoadReport(1, 1, 0.1)))
    await heard(far, Evict)
    far.send(Evicted(7))

    with pytest.raises(asyncio.CancelledError):
        await call


async def test_generate_ends_when_every_run_has(engine, launcher):
    """Deltas are handed on until each choice has finished."""
    runs = [Run(index, 1, Generation(4)) for index in range(2)]
    stream = engine.generate("cpu", 7, runs)
    first = asyncio.create_task(anext(stream))
    asked = await heard(launcher.far("text"), Generate)
    launcher.far("text").send(
        Deltas(
            [
                (asked.stream, Delta(0, "a", finish_reason="stop")),
                (asked.stream + 100, Delta(0, "someone else's")),
                (asked.stream, Delta(1, "b", finish_reason="length")),
            ]
        )
    )

    assert (await first).text == "a"
    assert [delta.text async for delta in stream] == ["b"]


async def test_closing_a_stream_early_cancels_it(engine, launcher):
    """Whoever stops listening stops the generation."""
    stream = engine.generate("cpu", 7, [Run(0, 1, Generation(4))])
    first = asyncio.create_task(anext(stream))
    asked = await heard(launcher.far("text"), Generate)
    launcher.far("text").send(Deltas([(asked.stream, Delta(0, "a"))]))
    await first
    await stream.aclose()

    assert (await heard(launcher.far("text"), Cancel)).stream == asked.stream


async def test_vectors_come_in_the_order_of_their_prompts(engine, launcher):
    """Whichever is ready first."""
    call = asyncio.create_task(engine.embed("cpu", 7, [4, 5]))
    asked = await heard(launcher.far("text"), Embed)
    ends = [Delta(index, vector=bytes([index]), finish_reason="stop") for index in (1, 0)]
    launcher.far("text").send(Deltas([(asked.stream, delta) for delta in ends]))

    assert asked.tickets == [4, 5]
    assert await call == [b"\0", b"\1"]


async def test_one_vector_that_fails_ends_them_all(engine, launcher):
    """What is still running is cancelled, as where the caller leaves."""
    call = asyncio.create_task(engine.embed("cpu", 7, [4, 5]))
    asked = await heard(launcher.far("text"), Embed)
    failed = Delta(0, failure=Failure("bad_request", "too long"))
    launcher.far("text").send(Deltas([(asked.stream, failed)]))
    with pytest.raises(EngineError, match="too long"):
        await call
    assert (await heard(launcher.far("text"), Cancel)).stream == asked.stream

    call = asyncio.create_task(engine.embed("cpu", 7, [4]))
    asked = await heard(launcher.far("text"), Embed)
    call.cancel()
    assert (await heard(launcher.far("text"), Cancel)).stream == asked.stream


async def test_a_lost_worker_fails_its_calls_and_is_restarted(engine, launcher):
    """What a dead worker was asked fails; the pool hears of it; the next one is attached anew."""
    lost: list[str] = []
    engine.on_lost(lost.append)
    call = asyncio.create_task(engine.load(ORDER, lambda _: None))
    await heard(launcher.far("cpu"), Load)
    launcher.far("cpu").close()

    with pytest.raises(EngineError) as error:
        await call
    assert error.value.code == "worker_lost"
    assert lost == ["cpu"]
    for _ in range(2):
        assert (await heard(launcher.far("text"), Attach)).device == "cpu"
    assert len(launcher.processes["cpu"]) == 2


async def test_a_lost_text_process_ends_its_streams_with_an_error(engine, launcher):
    """A stream whose text process died raises instead of falling silent."""
    stream = engine.generate("cpu", 7, [Run(0, 1, Generation(4))])
    first = asyncio.create_task(anext(stream))
    await heard(launcher.far("text"), Generate)
    launcher.far("text").close()

    with pytest.raises(EngineError) as error:
        await first
    assert error.value.code == "text_lost"


async def test_a_prompt_prepared_for_nobody_is_discarded(engine, launcher):
    """A ticket whose asker left is given back."""
    call = asyncio.create_task(engine.prepare(SOURCE, TextPrompt("hi")))
    far = launcher.far("text")
    asked = await heard(far, Prepare)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    far.send(PrepareDone(asked.call, Prepared(3, [1, 2])))

    assert (await heard(far, Discard)).tickets == [3]


async def test_tickets_are_given_back_together(engine, launcher):
    """The text process is woken once for all that end at about the same time."""
    for ticket in (3, 4, 5):
        engine.discard(ticket)

    assert (await heard(launcher.far("text"), Discard)).tickets == [3, 4, 5]


async def test_a_new_text_process_hears_nothing_of_old_tickets(engine, launcher):
    """It counts from one again: the same number would be another's prompt."""
    engine.discard(1)
    call = asyncio.create_task(engine.prepare(SOURCE, TextPrompt("hi")))
    await heard(launcher.far("text"), Prepare)
    launcher.far("text").close()
    with pytest.raises(EngineError):
        await call
    await engine._text.ready.wait()
    engine.discard(2)

    assert (await heard(launcher.far("text"), Discard)).tickets == [2]
