"""The worker as its neighbours know it: a real process, real sockets, a real tiny model."""

import asyncio
import json
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from engine.api import DeviceStats, Form, LoadOrder, Sampling
from engine.channel import Channel
from engine.wire import (
    CancelLoad,
    Event,
    Evict,
    Evicted,
    Inspect,
    Inspected,
    Load,
    Loaded,
    LoadFailed,
    Output,
    Pause,
    Paused,
    Start,
    Step,
    Stop,
    Tick,
    WorkerReady,
)

ROOT = Path(__file__).parents[2]
LLAMA = ROOT / "tests/fixtures/llama-plain"
PLAIN = LLAMA / "llama-plain-F32.gguf"
GREEDY = Sampling(temperature=0)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Running:
    """A worker and the gateway's end of its control channel."""

    process: asyncio.subprocess.Process
    control: Channel[Any]
    socket: Path
    handles: int = 0

    async def heard(self, kind: type | tuple[type, ...]) -> Any:
        """The next event of this kind; others before it are passed over."""
        async with asyncio.timeout(60):
            while (event := await self.control.receive()) is not None:
                if isinstance(event, kind):
                    return event
        raise AssertionError(f"the worker ended before a {kind}")

    async def load(self, path: Path, kv_tokens: int = 256, form: Form = "dense") -> int:
        """Asks for a load; its handle."""
        self.handles += 1
        order = LoadOrder(self.handles, "cpu", str(path), form, kv_tokens)
        self.control.send(Load(order))
        return self.handles

    async def paused(self, handle: int) -> None:
        self.control.send(Pause(handle))
        assert (await self.heard(Paused)).handle == handle

    async def evicted(self, handle: int) -> None:
        self.control.send(Evict(handle))
        assert (await self.heard(Evicted)).handle == handle

    async def stats(self) -> DeviceStats:
        """As they are now: ticks that nobody read, and the one on its way, are older."""
        await self.evicted(await self.loaded())
        await self.heard(Tick)
        return (await self.heard(Tick)).stats

    def resume(self, handle: int, path: Path = PLAIN, kv_tokens: int = 256) -> None:
        order = LoadOrder(handle, "cpu", str(path), "dense", kv_tokens, resumes=True)
        self.control.send(Load(order))

    async def loaded(self, path: Path = PLAIN) -> int:
        handle = await self.load(path)
        assert (await self.heard(Loaded)).handle == handle
        return handle


@dataclass
class Text:
    """A text process's end of a connection."""

    channel: Channel[Step]

    def start(self, number: int, handle: int, token_ids: list[int], max_tokens: int = 12) -> None:
        self.channel.send(Start(number, handle, token_ids, max_tokens, 0, [], GREEDY))

    async def outputs(self) -> list[Output]:
        async with asyncio.timeout(60):
            step = await self.channel.receive()
        assert step is not None
        return step.outputs

    async def until_end(self, *numbers: int) -> dict[int, list[Output]]:
        """All outputs of these sequences, until the last has ended."""
        heard: dict[int, list[Output]] = {number: [] for number in numbers}
        open_ones = set(numbers)
        while open_ones:
            for output in await self.outputs():
                heard[output.sequence].append(output)
                if output.finish_reason or output.failure:
                    open_ones.remove(output.sequence)
        return heard


def tokens(outputs: list[Output]) -> list[int]:
    return [token_id for output in outputs for token_id in output.token_ids]


Launch = Callable[..., Awaitable[Running]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def launch(tmp_path_factory) -> AsyncIterator[Launch]:
    """Starts workers and waits for their first event."""
    started: list[Running] = []

    async def launch(*more: str) -> Running:
        path = tmp_path_factory.mktemp("worker") / "worker.sock"
        path.write_bytes(b"")  # as a killed worker leaves it
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "engine.worker", "--control-fd", str(theirs.fileno())),
                *("--socket", str(path), "--memory", str(2**30), "--dtype", "float32", *more),
                pass_fds=(theirs.fileno(),),
                cwd=ROOT,
            )
        control = await Channel.over(ours, Event)
        running = Running(process, control, path)
        started.append(running)
        assert await running.heard(WorkerReady) == WorkerReady("cpu", 2**30, "float32")
        return running

    yield launch
    for running in started:
        running.control.close()
        if running.process.returncode is None:
            running.process.kill()
        await running.process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(launch) -> Running:
    return await launch()


Connect = Callable[[Running], Awaitable[Text]]


@pytest_asyncio.fixture(loop_scope="module")
async def connect() -> AsyncIterator[Connect]:
    """Connects as a text process would, until the test is over."""
    texts: list[Text] = []

    async def connect(worker: Running) -> Text:
        texts.append(Text(await Channel.to(worker.socket, Step)))
        return texts[-1]

    yield connect
    for text in texts:
        text.channel.close()


@pytest.fixture(scope="module")
def reference() -> list[tuple[list[int], list[int]]]:
    """(prompt, greedy continuation) pairs."""
    data = json.loads((LLAMA / "reference.json").read_text())
    results = data["files"]["hf"]["results"]
    return [(p, r["greedy"]) for p, r in zip(data["prompts"], results, strict=True)]


async def test_only_this_user_may_connect(worker, connect):
    """Token ids are somebody's text."""
    assert stat.S_IMODE(worker.socket.stat().st_mode) == 0o600


async def test_two_text_processes_generate_at_once(worker, reference, connect):
    """Each connection hears of its own sequences, by its own numbers."""
    handle = await worker.loaded()
    texts = [await connect(worker), await connect(worker)]
    for text, (prompt, _) in zip(texts, reference, strict=True):
        text.start(0, handle, prompt)
        text.start(1, handle, prompt, max_tokens=3)

    for text, (_, greedy) in zip(texts, reference, strict=True):
        outputs = await text.until_end(0, 1)
        assert tokens(outputs[0]) == greedy
        assert tokens(outputs[1]) == greedy[:3]
        assert outputs[0][-1].finish_reason == "length"


async def test_a_load_reports_what_it_took(worker):
    """Bytes of weights, cache and workspace, and seconds with what they went into."""
    handle = await worker.load(LLAMA / "hf", kv_tokens=64)
    loaded = await worker.heard(Loaded)

    assert loaded.handle == handle
    assert loaded.report.weights_bytes > 0
    assert loaded.report.kv_bytes > 0
    assert loaded.report.workspace_bytes > 0
    assert 0 < sum(loaded.report.phases.values()) <= loaded.report.seconds


async def test_a_stopped_sequence_is_silent(worker, reference, connect):
    """Stop ends a sequence without a last word; its neighbours go on."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    text.channel.send(Stop([0, 99]))
    text.start(1, handle, reference[1][0])
    outputs = [output for output in await _collect(text, 1) if output.sequence == 0]

    assert len(tokens(outputs)) < 199
    assert all(output.finish_reason is None for output in outputs)


async def _collect(text: Text, last: int) -> list[Output]:
    outputs: list[Output] = []
    while not any(o.sequence == last and o.finish_reason for o in outputs):
        outputs += await text.outputs()
    return outputs


async def test_a_handle_is_stale_after_its_eviction(worker, reference, connect):
    """An evicted model answers no one, and its number is not reused."""
    handle = await worker.loaded()
    worker.control.send(Evict(handle))
    assert (await worker.heard(Evicted)).handle == handle
    text = await connect(worker)
    text.start(0, handle, reference[0][0])
    (output,) = await text.outputs()

    assert output.failure is not None
    assert output.failure.code == "stale_handle"


async def test_an_eviction_waits_for_what_runs(worker, reference, connect):
    """Sequences are never cut by an eviction."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=100)
    await text.outputs()
    worker.control.send(Evict(handle))
    await worker.heard(Evicted)
    outputs = await text.until_end(0)

    assert len(tokens(outputs[0])) == 99
    assert outputs[0][-1].finish_reason == "length"


async def test_an_eviction_gives_the_memory_back(worker):
    """When a model is evicted, its bytes are the system's again: address space, pages or none."""
    process = psutil.Process(worker.process.pid)
    handle = await worker.load(LLAMA / "hf", kv_tokens=2**20)
    loaded = await worker.heard(Loaded)
    before = process.memory_info().vms
    worker.control.send(Evict(handle))
    await worker.heard(Evicted)

    assert loaded.report.kv_bytes > 500 * 2**20
    # a thread that began meanwhile has reserved 72 MiB for its stack and its heap
    assert before - process.memory_info().vms > 0.8 * loaded.report.kv_bytes


async def test_a_pause_is_not_to_be_seen_in_the_stream(worker, reference, connect):
    """What was paused goes on where it was, and so does what was started meanwhile."""
    handle = await worker.loaded()
    text = await connect(worker)
    (prompt, greedy), (other, others_greedy) = reference
    text.start(0, handle, prompt, max_tokens=200)
    undisturbed = await text.until_end(0)
    text.start(0, handle, prompt, max_tokens=200)
    outputs = await text.outputs()
    await worker.paused(handle)
    text.start(1, handle, other)
    worker.resume(handle)
    resumed = await worker.heard(Loaded)
    rest = await text.until_end(0, 1)

    assert resumed.handle == handle
    assert tokens(outputs + rest[0]) == tokens(undisturbed[0])
    assert tokens(undisturbed[0])[: len(greedy)] == greedy
    assert tokens(rest[1]) == others_greedy


async def test_guesses_change_when_tokens_come_and_nothing_else(worker, launch, reference, connect):
    """A worker told to speculate says the same in fewer steps, and counts what it guessed."""
    prompt, _ = reference[0]
    heard = []
    guessing = await launch("--speculate", "8")
    for each in (worker, guessing):
        handle = await each.loaded()
        text = await connect(each)
        text.start(0, handle, prompt, max_tokens=200)
        heard.append((await text.until_end(0))[0])
    without, found = heard
    while not (stats := (await guessing.heard(Tick)).stats).accepted_tokens:
        pass

    assert tokens(found) == tokens(without)
    assert len(found) < len(without) == 200
    assert stats.accepted_tokens <= stats.drafted_tokens


async def test_a_paused_model_can_be_stopped_at_once(worker, reference, connect):
    """Whoever leaves need not wait for the model to come back."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    await worker.paused(handle)
    text.channel.send(Stop([0]))
    text.start(1, handle, reference[1][0])
    worker.resume(handle)
    await worker.heard(Loaded)
    silent, heard = 0, []
    while not heard or not heard[-1].finish_reason:
        for output in await text.outputs():
            if output.sequence == 1:
                heard.append(output)
            silent += not output.sequence and bool(heard)

    assert silent == 0
    assert tokens(heard) == reference[1][1]


async def test_an_eviction_of_a_paused_model_fails_its_sequences(worker, reference, connect):
    """There is nothing left that they could go on with."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    await worker.paused(handle)
    worker.control.send(Evict(handle))
    assert (await worker.heard(Evicted)).handle == handle
    outputs = await text.until_end(0)
    worker.resume(handle)

    assert outputs[0][-1].failure.code == "stale_handle"
    assert (await worker.heard(LoadFailed)).failure.code == "stale_handle"


async def test_a_resume_that_fails_ends_its_sequences(worker, reference, connect, tmp_path):
    """The file is another one now: nobody gets tokens of two models."""
    path = tmp_path / "model.gguf"
    path.write_bytes(PLAIN.read_bytes())
    handle = await worker.loaded(path)
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    await worker.paused(handle)
    path.write_bytes(PLAIN.read_bytes()[:-4096] + bytes(4096))
    worker.resume(handle, path)
    failed = await worker.heard(LoadFailed)
    outputs = await text.until_end(0)
    worker.control.send(Evict(handle))

    assert failed.failure.code == "bad_checkpoint"
    assert outputs[0][-1].failure == failed.failure
    assert (await worker.heard(Evicted)).handle == handle


async def test_a_resume_that_is_cancelled_leaves_it_paused(worker, reference, connect):
    """It can be asked for again, however often, and loses nothing."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0])
    first = await text.outputs()
    await worker.paused(handle)
    worker.resume(handle)
    worker.control.send(CancelLoad(handle))
    answer = await worker.heard((Loaded, LoadFailed))
    if isinstance(answer, LoadFailed):  # else it was too late, which is as good
        worker.resume(handle)
        await worker.heard(Loaded)
    rest = await text.until_end(0)

    assert tokens(first + rest[0]) == reference[0][1]


async def test_an_eviction_ends_a_load_first(worker):
    """Evicted is said when the memory is free, a load's on its way included; and each is answered."""
    handle = await worker.load(LLAMA / "hf")
    worker.control.send(Evict(handle))
    heard: list[Event] = []
    async with asyncio.timeout(60):
        while not heard or not isinstance(heard[-1], Evicted):
            heard.append(await worker.control.receive())
    answers = [event for event in heard if isinstance(event, Loaded | LoadFailed)]

    assert [event.handle for event in answers] == [handle]


async def test_what_is_not_paused_is_not_resumed(worker, reference, connect):
    """Such an order fails, and a model that is ready stays so."""
    handle = await worker.loaded()
    worker.resume(handle)
    assert (await worker.heard(LoadFailed)).failure.code == "stale_handle"
    text = await connect(worker)
    text.start(0, handle, reference[0][0])

    assert tokens((await text.until_end(0))[0]) == reference[0][1]


async def test_pausing_what_is_gone_is_answered(worker):
    """Nothing is there to be let go of."""
    await worker.paused(10**6)


async def test_a_prefix_comes_back_with_its_model(worker, reference, connect):
    """Evicted, and loaded under another handle: what was computed is found, and counted."""
    before = await worker.stats()
    text = await connect(worker)
    cached = []
    for number in range(2):
        handle = await worker.load(PLAIN, kv_tokens=384)
        await worker.heard(Loaded)
        text.start(number, handle, reference[0][0])
        outputs = (await text.until_end(number))[number]
        cached.append(outputs[0].cached_tokens)
        assert tokens(outputs) == reference[0][1]
        await worker.evicted(handle)
    stats = await worker.stats()

    assert cached == [0, 32]
    assert stats.prompt_tokens - before.prompt_tokens == 2 * len(reference[0][0])
    assert stats.cached_tokens - before.cached_tokens == 32
    assert stats.parked_models > 0
    assert stats.parked_bytes > 0


async def test_a_closed_connection_ends_its_sequences(worker, reference, connect):
    """The model can be evicted at once, since nobody is left to finish for."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    text.channel.close()
    other = await connect(worker)
    other.start(0, handle, reference[1][0])
    await other.until_end(0)
    worker.control.send(Evict(handle))

    assert (await worker.heard(Evicted)).handle == handle


async def test_a_bad_request_fails_alone(worker, reference, connect):
    """Token ids outside the vocabulary are refused beside one that works."""
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, [10**6])
    text.start(1, handle, reference[0][0])
    outputs = await text.until_end(0, 1)

    assert outputs[0][0].failure.code == "bad_request"
    assert tokens(outputs[1]) == reference[0][1]


async def test_nonsense_ends_its_connection_alone(worker, reference, connect):
    """A text process that lost its mind does not take the worker along."""
    _, writer = await asyncio.open_unix_connection(worker.socket)
    writer.write(b"\x05\x00\x00\x00hello")
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[1][0])
    writer.close()

    assert tokens((await text.until_end(0))[0]) == reference[1][1]


async def test_a_broken_file_fails_its_load_alone(worker, tmp_path):
    """The reason reaches the gateway; the worker serves on."""
    path = tmp_path / "broken.gguf"
    path.write_bytes((LLAMA / "llama-plain-F32.gguf").read_bytes()[:5000])
    handle = await worker.load(path)
    failed = await worker.heard(LoadFailed)

    assert failed.handle == handle
    assert failed.failure.code == "bad_checkpoint"


async def test_a_cache_beyond_all_memory_is_out_of_memory(worker):
    """What the allocator refuses has a code of its own."""
    await worker.load(LLAMA / "hf", kv_tokens=2**50)

    assert (await worker.heard(LoadFailed)).failure.code == "out_of_memory"


async def test_a_load_can_be_cancelled(worker):
    """Cancelling a load is answered once: it failed, or it had finished before it heard."""
    handle = await worker.load(LLAMA / "hf")
    worker.control.send(CancelLoad(handle))
    async with asyncio.timeout(60):
        while not isinstance(event := await worker.control.receive(), Loaded | LoadFailed):
            pass

    assert event.handle == handle
    if isinstance(event, LoadFailed):
        assert "cancelled" in event.failure.message


async def test_it_inspects_in_a_child(worker, tmp_path):
    """A card for a model, a reason for what is none, by the number of the call."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    worker.control.send(Inspect(1, str(LLAMA / "hf")))
    worker.control.send(Inspect(2, str(broken)))
    answers = [await worker.heard(Inspected), await worker.heard(Inspected)]
    found, refused = sorted(answers, key=lambda answer: answer.call)

    assert (found.call, found.card.family) == (1, "llama")
    assert (refused.call, refused.failure.code) == (2, "bad_checkpoint")


async def test_it_ticks_while_idle(worker):
    """The step loop says that it lives."""
    first, second = await worker.heard(Tick), await worker.heard(Tick)

    assert second.stats.steps >= first.stats.steps


async def test_the_end_of_the_control_channel_ends_it(launch, reference, connect):
    """A gateway that dies leaves no worker behind, not even a busy one."""
    worker = await launch()
    handle = await worker.loaded()
    text = await connect(worker)
    text.start(0, handle, reference[0][0], max_tokens=200)
    await text.outputs()
    worker.control.close()
    async with asyncio.timeout(5):
        status = await worker.process.wait()

    assert status == 0


LAUNCHER = """
import subprocess, sys
worker = subprocess.Popen(sys.argv[2:], pass_fds=[int(sys.argv[1])])
print(worker.pid, flush=True)
sys.stdin.read()
"""


async def test_it_dies_with_the_process_that_started_it(tmp_path):
    """Even where the control channel stays open: somebody may have inherited its other end."""
    ours, theirs = socket.socketpair()
    number = str(theirs.fileno())
    command = [sys.executable, "-m", "engine.worker", "--control-fd", number]
    command += ["--socket", str(tmp_path / "worker.sock"), "--memory", "1"]
    with theirs:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LAUNCHER, number, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
        )
    assert parent.stdout is not None
    worker = psutil.Process(int(await parent.stdout.readline()))
    control = await Channel.over(ours, Event)
    async with asyncio.timeout(60):
        assert isinstance(await control.receive(), WorkerReady)
    parent.kill()
    await parent.wait()

    await asyncio.to_thread(worker.wait, 10)
    control.close()
