"""The real text process, between a gateway's end of the channel and a scripted worker."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from engine.api import ChatPrompt, Generation, Run, Sampling, TextPrompt, TextSource, TokenPrompt
from engine.channel import Channel
from engine.checkpoint import open_checkpoint
from engine.launcher import LocalLauncher, LocalProcess, Program
from engine.wire import (
    Attach,
    Cancel,
    Deltas,
    Discard,
    Generate,
    Logprob,
    Output,
    Prepare,
    PrepareDone,
    Spell,
    Step,
    Stop,
    TextEvent,
    TextReady,
    Work,
)

HELLO = "hello"


class Gateway:
    """Speaks to a text process as the gateway does."""

    def __init__(self, process: LocalProcess[TextEvent], source: TextSource) -> None:
        self.process = process
        self.channel = process.channel
        self.source = source

    async def prepare(self, prompt: Any, source: TextSource | None = None) -> PrepareDone:
        self.channel.send(Prepare(11, source or self.source, prompt))
        answer = await self.channel.receive()
        assert isinstance(answer, PrepareDone)
        assert answer.call == 11
        return answer

    async def ticket(self, text: str = HELLO) -> int:
        return (await self.prepare(TextPrompt(text))).prepared.ticket

    def generate(self, *runs: Run, stream: int = 1, device: str = "cpu") -> None:
        self.channel.send(Generate(stream, device, 5, list(runs)))

    async def deltas(self) -> list[Any]:
        frame = await self.channel.receive()
        assert isinstance(frame, Deltas)
        return frame.deltas


class FakeWorker:
    """Listens where a worker would, and says what the test has it say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.visitors: asyncio.Queue[Channel[Any]] = asyncio.Queue()

    async def open(self) -> None:
        self.server = await asyncio.get_running_loop().create_unix_server(
            lambda: Channel(Work, self.visitors.put_nowait), self.path
        )

    async def starts(self, channel: Channel[Any], count: int) -> list[int]:
        return [(await channel.receive()).sequence for _ in range(count)]


@pytest.fixture
async def gateway(family_folder, tmp_path, monkeypatch) -> AsyncIterator[Gateway]:
    monkeypatch.setenv("ROUNDHOUSE_CACHE", str(tmp_path / "cache"))
    path = family_folder("llama-bf16") / "llama-bf16-BF16.gguf"
    source = TextSource(str(path), open_checkpoint(path).digest, vocab_size=368)
    process = await LocalLauncher().launch(Program("text", "engine.text", (), TextEvent))
    assert await process.channel.receive() == TextReady()
    yield Gateway(process, source)
    await process.end()


@pytest.fixture
async def worker() -> AsyncIterator[FakeWorker]:
    folder = Path(tempfile.mkdtemp(prefix="rh-"))
    worker = FakeWorker(folder / "worker.sock")
    await worker.open()
    yield worker
    while not worker.visitors.empty():
        worker.visitors.get_nowait().close()
    worker.server.close()
    shutil.rmtree(folder)


@pytest.fixture
async def attached(gateway, worker) -> AsyncIterator[Channel[Any]]:
    """The worker's end of the text process's connection."""
    gateway.channel.send(Attach("cpu", str(worker.path)))
    channel = await worker.visitors.get()
    yield channel
    channel.close()


def output(sequence: int, ids: list[int], finish: str | None = None, **facts: Any) -> Output:
    return Output(sequence, ids, facts.get("logprobs", []), facts.get("prompt", []), finish)


async def test_prompts_become_ids(gateway, byte_level):
    """Text, chat and ids are prepared under tickets of their own."""
    text = await gateway.prepare(TextPrompt(HELLO))
    chat = await gateway.prepare(ChatPrompt([{"role": "user", "content": HELLO}]))
    ids = await gateway.prepare(TokenPrompt([7, 8]))

    assert text.prepared.token_ids == byte_level.encode(HELLO, add_bos=True, allow_special=True)
    assert byte_level.token_text(chat.prepared.token_ids[0]) == byte_level.bos_token
    assert ids.prepared.token_ids == [7, 8]
    assert len({done.prepared.ticket for done in (text, chat, ids)}) == 3


async def test_a_bad_prompt_is_answered_with_its_failure(gateway, tmp_path):
    """A failure has a code and the field at fault; the process goes on."""
    missing = TextSource(str(tmp_path / "gone.gguf"), "ab", 10)

    outside = await gateway.prepare(TokenPrompt([10**6]))
    gone = await gateway.prepare(TextPrompt("x"), missing)
    words = msgspec.structs.replace(gateway.source, chat_template="{{ raise_exception('no') }}")
    refused = await gateway.prepare(ChatPrompt([{}]), words)

    assert (outside.failure.code, outside.failure.param) == ("bad_request", "prompt")
    assert gone.failure.code == "bad_checkpoint"
    assert refused.failure.code == "template_failed"
    assert refused.failure.message.endswith("no")
    assert (await gateway.prepare(TextPrompt(HELLO))).prepared is not None


async def test_a_ticket_is_spelt_until_it_is_discarded(gateway):
    """Later nobody knows what it was, which is said and not kept silent."""
    ticket = await gateway.ticket()
    gateway.channel.send(Spell(1, ticket))
    known = await gateway.channel.receive()
    gateway.channel.send(Discard([ticket]))
    gateway.channel.send(Spell(2, ticket))
    unknown = await gateway.channel.receive()

    assert (known.call, known.spelling.text) == (1, HELLO)
    assert (unknown.call, unknown.failure.code) == (2, "internal")


async def test_a_stream_runs_from_start_to_stop(gateway, attached, worker, byte_level):
    """Two choices: one step is one frame; a stop string ends one, its worker is told."""
    ticket = await gateway.ticket()
    letters = byte_level.encode("ab", add_bos=False, allow_special=False)
    gateway.generate(
        Run(0, ticket, Generation(9, echo=True)), Run(1, ticket, Generation(9, stop=("b",)))
    )
    first, second = await worker.starts(attached, 2)

    attached.send(Step([output(first, letters[:1]), output(second, letters)]))
    attached.send(Step([output(first, letters[-1:], "length"), output(second, letters)]))
    one, two = await gateway.deltas(), await gateway.deltas()

    shared = letters[0] if len(letters) > 1 else None
    assert [(stream, delta.index) for stream, delta in one] == [(1, 0), (1, 1)]
    assert one[0][1].text == HELLO + (byte_level.token_text(shared) if shared else "ab")
    assert (one[1][1].text, one[1][1].finish_reason) == ("a", "stop")
    assert [(delta.index, delta.finish_reason) for _, delta in two] == [(0, "length")]
    assert two[0][1].usage.completion_tokens == 2
    assert await attached.receive() == Stop([second])


async def test_prompt_logprobs_cross_both_wires(gateway, attached, worker):
    """Scores of the prompt come with its echo."""
    done = await gateway.prepare(TextPrompt(HELLO))
    sampling = Sampling(logprobs=1, prompt_logprobs=True)
    gateway.generate(Run(0, done.prepared.ticket, Generation(0, sampling, echo=True)))
    [sequence] = await worker.starts(attached, 1)
    scores = [Logprob(None, []), *(Logprob(-1.0, [(4, -0.5)]) for _ in done.prepared.token_ids[1:])]

    attached.send(Step([output(sequence, [], "length", prompt=scores)]))
    [(_, delta)] = await gateway.deltas()

    assert (delta.text, delta.finish_reason) == (HELLO, "length")
    assert [entry.token_id for entry in delta.logprobs] == done.prepared.token_ids
    assert [entry.logprob for entry in delta.logprobs[:2]] == [None, -1.0]


async def test_a_cancelled_stream_is_stopped(gateway, attached, worker):
    """The worker is told to stop every sequence of the stream."""
    ticket = await gateway.ticket()
    gateway.generate(Run(0, ticket, Generation(9)), Run(1, ticket, Generation(9)), stream=3)
    sequences = await worker.starts(attached, 2)

    gateway.channel.send(Cancel(3))

    assert await attached.receive() == Stop(sequences)


async def test_a_lost_worker_ends_streams_and_a_new_one_serves(gateway, attached, worker):
    """Every sequence fails with `worker_lost`; after `Attach` the device works again."""
    ticket = await gateway.ticket()
    gateway.generate(Run(0, ticket, Generation(9)))
    await worker.starts(attached, 1)

    attached.close()
    [(_, lost)] = await gateway.deltas()
    gateway.generate(Run(0, ticket, Generation(9)), stream=2)
    [(_, refused)] = await gateway.deltas()
    gateway.channel.send(Attach("cpu", str(worker.path)))
    again = await worker.visitors.get()
    gateway.generate(Run(0, ticket, Generation(9)), stream=3)
    [sequence] = await worker.starts(again, 1)
    again.send(Step([output(sequence, [65], "length")]))
    [(stream, delta)] = await gateway.deltas()
    again.close()

    assert lost.failure.code == refused.failure.code == "worker_lost"
    assert (stream, delta.finish_reason) == (3, "length")


async def test_what_is_not_there_fails_alone(gateway, attached, worker):
    """An unknown device, and a ticket that was discarded."""
    ticket = await gateway.ticket()
    gateway.generate(Run(4, ticket, Generation(9)), device="gpu7")
    [(_, no_device)] = await gateway.deltas()

    gateway.channel.send(Discard([ticket]))
    gateway.generate(Run(0, ticket, Generation(9)))
    [(_, no_ticket)] = await gateway.deltas()

    assert (no_device.index, no_device.failure.code) == (4, "worker_lost")
    assert no_ticket.failure.code == "internal"


async def test_the_process_ends_with_its_gateway(gateway):
    """At the end of the channel it exits, and its template child with it."""
    await gateway.prepare(ChatPrompt([{"role": "user", "content": HELLO}]))
    process = psutil.Process(gateway.process.pid)
    children = process.children()

    status = await gateway.process.end()

    assert status == 0
    assert len(children) == 1
    assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.mark.parametrize("form", ["hf", "rwkv7-goose-BF16.gguf"])
async def test_rwkv_is_served(form, gateway, attached, worker, family_folder):
    """Its tokens are bytes: an answer comes in whole characters, and ends with a turn."""
    path = family_folder("rwkv7-goose") / form
    source = TextSource(str(path), open_checkpoint(path).digest, vocab_size=384)
    chat = ChatPrompt([{"role": "user", "content": "hello 🦙"}])
    prepared = (await gateway.prepare(chat, source)).prepared
    gateway.generate(Run(0, prepared.ticket, Generation(9)))
    [sequence] = await worker.starts(attached, 1)

    for ids in ([33, 241, 160], [167], [154], [261]):
        attached.send(Step([output(sequence, ids, "stop" if 261 in ids else None)]))
    deltas = []
    while not deltas or deltas[-1].finish_reason is None:
        deltas += [delta for _, delta in await gateway.deltas()]

    assert prepared.token_ids[:6] == [300, 59, 294, 33, 241, 160]
    assert prepared.token_ids[-3:] == [261, 301, 59]
    assert "".join(delta.text for delta in deltas) == " 🦙"
    assert not any("\ufffd" in delta.text for delta in deltas)
    assert deltas[-1].finish_reason == "stop"
