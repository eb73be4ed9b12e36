"""What a client hears while it waits, when something breaks, and what happens when it leaves."""

import asyncio
import json
from typing import Any

import pytest

from engine.api import Delta, EngineError, Failure
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import IMPATIENT, Live, add_model, serving

CHAT = "/v1/chat/completions"


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} | fields


@pytest.fixture
async def impatient(fake_engine, tmp_path):
    """A gateway that holds headers for moments only, over an engine whose loads a test ends."""
    fake_engine.hold_loads = True
    card = add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path, limits=IMPATIENT | {"shutdown_seconds": 1}) as live:
        yield live, card.path


async def read_until(lines, wanted: str) -> list[str]:
    """Lines up to and with the first that holds `wanted`."""
    seen = []
    async for line in lines:
        seen.append(line)
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} never came: {seen}")


async def test_a_stream_hears_comments_while_its_model_loads(impatient):
    """Headers go out after the hold; comments say how far the load is; then the stream is whole."""
    live, path = impatient
    async with live.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        lines = response.aiter_lines()
        await read_until(lines, ": loading tiny 0%")
        live.engine.report_progress(path, 0.43)
        await read_until(lines, ": loading tiny 43%")
        live.engine.finish_load(path)
        rest = await read_until(lines, "[DONE]")

    assert response.status_code == 200
    chunks = [json.loads(line[6:]) for line in rest if line.startswith("data: {")]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "Hello, world!"


async def test_a_late_error_ends_a_stream_without_done(impatient):
    """After the headers an error is an event, which SDKs raise, and nothing follows it."""
    live, path = impatient
    async with live.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        lines = response.aiter_lines()
        await read_until(lines, ": loading")
        live.engine.fail_load(path, EngineError("bad_checkpoint", "scales are NaN"))
        rest = [line async for line in lines if line and not line.startswith(":")]

    assert len(rest) == 1
    error = json.loads(rest[0].removeprefix("data: "))["error"]
    assert error["code"] == "model_load_failed"
    assert "scales are NaN" in error["message"]


async def test_a_plain_reply_hears_white_space_while_its_model_loads(impatient):
    """The body is still JSON, whatever white space came before it."""
    live, path = impatient
    async with live.http.stream("POST", CHAT, json=chat()) as response:
        parts = response.aiter_raw()
        first = await anext(parts)
        live.engine.finish_load(path)
        body = first + b"".join([part async for part in parts])

    assert first.isspace()
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello, world!"


async def test_a_late_error_is_the_body_of_a_plain_reply(impatient):
    """With its status gone, a reply still says what happened in the usual envelope."""
    live, path = impatient
    async with live.http.stream("POST", CHAT, json=chat()) as response:
        parts = response.aiter_raw()
        await anext(parts)
        live.engine.fail_load(path, EngineError("out_of_memory", "the device is full"))
        body = b"".join([part async for part in parts])

    assert json.loads(body)["error"]["code"] == "model_load_failed"


@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_early_error_has_its_own_status(live, is_stream):
    """What fails before the first token is no 200, streamed or not."""
    live.engine.errors["load"] = EngineError("out_of_memory", "the device is full")

    response = await live.http.post(CHAT, json=chat(stream=is_stream))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_load_failed"
    assert int(response.headers["retry-after"]) >= 1


async def test_a_model_that_never_fits_is_507(live, tmp_path):
    """The bytes needed and available are named, and retrying is no use."""
    add_model(live.engine, tmp_path, "huge", weights_bytes=10_000)

    response = await live.http.post(CHAT, json=chat(model="huge"))

    assert response.status_code == 507
    assert response.headers["x-should-retry"] == "false"
    assert "10000" in response.json()["error"]["message"]
    assert not live.engine.prepared


async def leave_midway(live: Live, body: dict[str, Any]) -> None:
    """Reads one delta of a stream, then closes the connection."""
    live.engine.gate.clear()
    live.engine.step()
    async with live.http.stream("POST", CHAT, json=body) as response:
        await read_until(response.aiter_lines(), "Hello")
        assert len(live.services.answering) == 1


async def test_a_client_that_leaves_a_stream_stops_the_engine(live):
    """The generation ends, its lease and its prompt are given back."""
    await leave_midway(live, chat(stream=True))
    await live.answered()

    (status,) = live.services.pool.snapshot().values()
    assert status.leases == 0
    assert live.engine.discarded == [1]
    assert all(model.streams == 0 for model in live.engine.models.values())


class NoticingEngine(FakeEngine):
    """Says when a load has begun, and never ends it."""

    def __init__(self) -> None:
        super().__init__(hold_loads=True)
        self.load_begun = asyncio.Event()

    async def load(self, order, progress):
        self.load_begun.set()
        return await super().load(order, progress)


async def test_a_client_that_leaves_while_it_waits_is_forgotten(tmp_path):
    """Before the headers too: its place in the queue and its prompt are given back."""
    engine = NoticingEngine()
    add_model(engine, tmp_path, "tiny")
    async with serving(engine, tmp_path) as live:
        request = asyncio.create_task(live.http.post(CHAT, json=chat()))
        await engine.load_begun.wait()
        request.cancel()
        await live.answered()

        assert engine.discarded == [1]
        assert [status.waiting for status in live.services.pool.snapshot().values()] == [0]


async def test_losing_the_worker_ends_the_stream_with_an_error(live):
    """A stream never just stops: it says that its process died."""
    live.engine.gate.clear()
    live.engine.step()
    async with live.http.stream("POST", CHAT, json=chat(stream=True)) as response:
        lines = response.aiter_lines()
        await read_until(lines, "Hello")
        live.engine.lose("cpu")
        live.engine.gate.set()
        rest = [line async for line in lines if line.startswith("data: ")]

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["type"] == "server_error"
    assert "[DONE]" not in rest[-1]


async def test_a_failure_in_a_delta_ends_the_request(live, tmp_path):
    """A choice that fails fails the request: half an answer is none."""
    failure = Failure("out_of_memory", "no cache left")
    path = str(tmp_path / "org/tiny.gguf")
    live.engine.deltas[path] = [Delta(0, "He"), Delta(0, failure=failure)]

    response = await live.http.post(CHAT, json=chat())

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "out_of_memory"


@pytest.mark.parametrize(
    ("code", "param", "expected"),
    [
        ("no_chat_template", None, "messages"),
        ("template_failed", None, "messages"),
        ("bad_request", "prompt", "prompt"),
    ],
)
async def test_a_prompt_that_cannot_be_prepared_is_400(live, code, param, expected):
    """The model's template has its say before any model is loaded."""
    live.engine.errors["prepare"] = EngineError(code, "roles must alternate", param)

    response = await live.http.post(CHAT, json=chat())

    assert response.status_code == 400
    assert response.json()["error"]["param"] == expected
    assert response.json()["error"]["message"] == "roles must alternate"
    assert not live.engine.loads


class StrictEngine(FakeEngine):
    """Its template takes one system message, in front."""

    async def prepare(self, source, prompt):
        roles = [message["role"] for message in prompt.messages]
        if "system" in roles[1:]:
            raise EngineError("template_failed", "system must come first")
        return await super().prepare(source, prompt)


async def test_a_late_system_message_is_merged_when_the_template_refuses_it(tmp_path):
    """Many clients send several; many templates take one, and only in front."""
    engine = StrictEngine()
    add_model(engine, tmp_path, "tiny")
    messages = [{"role": role, "content": role} for role in ("system", "user", "developer")]
    async with serving(engine, tmp_path) as live:
        response = await live.http.post(CHAT, json=chat(messages=messages))

    assert response.status_code == 200
    ((_, prompt),) = engine.prepared
    assert [message["content"] for message in prompt.messages] == ["system\n\ndeveloper", "user"]
