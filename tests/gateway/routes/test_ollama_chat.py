"""Ollama's chats and generations through its official client, as its users see them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import ollama
import pytest

from engine.api import Delta, TextPrompt, ToolCallDelta, Usage
from tests.gateway.live import IMPATIENT, Live, add_model, serving

MESSAGES: list[Any] = [{"role": "user", "content": "say hello"}]


@pytest.fixture
async def client(live: Live):
    async with ollama.AsyncClient(host=live.url) as client:
        yield client


@pytest.fixture
def scripted(live: Live, tmp_path: Path) -> Live:
    """`org/tiny` thinks, speaks and calls a tool, whose arguments come in pieces."""
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = [
        Delta(0, reasoning="hm"),
        Delta(0, "so"),
        Delta(0, tool_calls=[ToolCallDelta(0, "call_1", "look", '{"at":')]),
        Delta(0, tool_calls=[ToolCallDelta(0, arguments='"x"}')]),
        Delta(0, finish_reason="tool_calls", usage=Usage(12, 9)),
    ]
    return live


def run_of(live: Live) -> Any:
    ((_, _, (run,)),) = live.engine.generations
    return run.generation


async def test_a_chat(client):
    """One answer, with counts, and durations that add up."""
    answer = await client.chat("tiny", MESSAGES)

    assert (answer.message.role, answer.message.content) == ("assistant", "Hello, world!")
    assert (answer.model, answer.done, answer.done_reason) == ("org/tiny", True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (2, 4)
    parts = (answer.load_duration, answer.prompt_eval_duration, answer.eval_duration)
    assert sum(parts) == answer.total_duration > 0


async def test_the_sync_client_streams(live):
    """A line for each piece; the last says nothing but how it went."""

    def talk() -> list[ollama.ChatResponse]:
        with ollama.Client(host=live.url) as client:
            return list(client.chat("tiny:latest", MESSAGES, stream=True))

    *pieces, last = await asyncio.to_thread(talk)

    assert "".join(piece.message.content for piece in pieces) == "Hello, world!"
    assert not any(piece.done for piece in pieces)
    assert (last.done, last.message.content, last.eval_count) == (True, "", 4)


async def test_lines_are_ndjson_and_the_default(live):
    """Who says nothing of streaming gets a stream."""
    body = {"model": "tiny", "messages": MESSAGES}
    response = await live.http.post("/api/chat", json=body)

    assert response.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["done"] for line in response.text.splitlines()] == [False] * 4 + [True]


async def test_thinking_and_calls(scripted, client):
    """Thinking stays apart; a call comes as a whole, its arguments as an object."""
    whole = await client.chat("tiny", MESSAGES, think=True)
    pieces = [piece.message async for piece in await client.chat("tiny", MESSAGES, stream=True)]

    (call,) = whole.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("look", {"at": "x"})
    assert (whole.message.thinking, whole.message.content) == ("hm", "so")
    assert [bool(piece.tool_calls) for piece in pieces] == [False, False, True, False]
    assert whole.done_reason == "stop"


async def test_a_conversation_reaches_the_template(live, client):
    """Calls, results and what was thought are put as templates read them."""
    called = {"function": {"name": "look", "arguments": {"at": 1}}}
    await client.chat(
        "tiny",
        [
            *MESSAGES,
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [called]},
            {"role": "tool", "content": "here", "tool_name": "look"},
        ],
        think=False,
    )

    _, prompt = live.engine.prepared[-1]
    call = {"id": None, "type": "function"} | called
    assert prompt.messages[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "content": "here", "name": "look"},
    ]
    assert prompt.template_kwargs == {"enable_thinking": False}


async def test_options_reach_the_engine(live, client):
    """Each that changes the answer is honoured; those of loading are let pass."""
    options = {
        "num_predict": 3,
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.9,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.3,
        "seed": 5,
        "stop": ["x"],
    }
    answer = await client.chat("tiny", MESSAGES, options=options | {"num_ctx": 8192})

    generation = run_of(live)
    sampling = generation.sampling
    assert (generation.max_tokens, generation.stop) == (3, ("x",))
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.5, 7, 0.9)
    assert (sampling.min_p, sampling.repetition_penalty, sampling.seed) == (0.1, 1.1, 5)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.2, 0.3)
    assert answer.done_reason == "length"


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("raw", [False, True])
async def test_a_format_is_a_grammar(live, client, raw):
    """JSON of any kind, or by a schema, whether a template is used or not."""
    for wanted, schema in (("json", {"type": "object"}), (SCHEMA, SCHEMA)):
        await client.generate("tiny", "a", format=wanted, raw=raw)

        (run,) = live.engine.generations[-1][2]
        assert run.generation.grammar.kind == "json_schema"
        assert schema.items() <= json.loads(run.generation.grammar.text).items()


async def test_as_many_tokens_as_there_is_room_for(live, client):
    """Without a limit of its own, or with one past the window."""
    for num_predict in (-1, -2, 10**6):
        await client.chat("tiny", MESSAGES, options={"num_predict": num_predict})

    asked = [runs[0].generation.max_tokens for _, _, runs in live.engine.generations]
    assert asked == [2048 - 2] * 3


async def test_a_generation(live, client):
    """A prompt is a user's turn, with `system` before it."""
    answer = await client.generate("tiny", "say hello", system="be brief")

    assert (answer.response, answer.done_reason, answer.context) == ("Hello, world!", "stop", [])
    _, prompt = live.engine.prepared[-1]
    assert prompt.messages == [{"role": "system", "content": "be brief"}, *MESSAGES]


@pytest.mark.parametrize(("model", "raw"), [("tiny", True), ("base", False)])
async def test_a_raw_generation(live, client, model, raw):
    """The prompt is read as it is; what a model that only completes is asked is raw anyway."""
    stream = await client.generate(model, "once upon", raw=raw, stream=True)
    pieces = [piece.response async for piece in stream]

    assert "".join(pieces) == "Hello, world!"
    assert live.engine.prepared[-1][1] == TextPrompt("once upon")
    assert run_of(live).max_tokens == 2048 - 2


async def test_a_request_that_says_nothing_loads_or_unloads(live, client):
    """An empty prompt has the model loaded; kept for no time, unloaded."""
    loaded = await client.generate("tiny", "", keep_alive="5m")
    (running,) = (await client.ps()).models
    unloaded = await client.chat("tiny", [], keep_alive=0)

    assert (loaded.done_reason, unloaded.done_reason) == ("load", "unload")
    assert running.model == "org/tiny"
    assert not (await client.ps()).models
    assert not live.engine.generations


async def test_show(live, client):
    """What it is, how much it reads here, and what can be asked of it."""
    shown = await client.show("tiny")
    base = await client.show("base")

    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 2048
    assert shown.details.quantization_level == "Q4_K"
    assert shown.capabilities == ["completion", "tools", "thinking"]
    assert base.capabilities == ["completion", "insert"]


async def test_embeddings(live, tmp_path, client):
    """One vector for each text, all or the first values of it; the older path takes one text."""
    card = {"tasks": ("embedding",), "embedding_size": 2, "is_matryoshka": True}
    add_model(live.engine, tmp_path, "doll", **card)
    both = await client.embed("doll", ["one two", "three"])
    short = await client.embed("doll", "one two", dimensions=1)
    old = await client.embeddings("doll", "one two")

    assert [len(vector) for vector in both.embeddings] == [2, 2]
    assert (both.model, both.prompt_eval_count) == ("doll", 3)
    assert short.embeddings == [[1.0]]
    assert old.embedding == both.embeddings[0]
    assert (await client.show("doll")).capabilities == ["embedding"]


REFUSED = [
    ("chat", {"model": "nothing", "messages": MESSAGES}, 404, "does not exist"),
    ("chat", {"model": "base", "messages": MESSAGES}, 400, "chat template"),
    ("chat", {"messages": MESSAGES, "options": {"temperature": 9}}, 400, "temperature"),
    ("chat", {"messages": MESSAGES, "options": {"mirostat": 2}}, 400, "options.mirostat"),
    ("chat", {"messages": MESSAGES, "format": "yaml"}, 400, "format"),
    ("chat", {"messages": [*MESSAGES, {"role": "user", "images": ["A"]}]}, 400, "images"),
    ("chat", {"messages": MESSAGES, "keep_alive": "soon"}, 400, "keep_alive"),
    ("generate", {"prompt": "a", "suffix": "b"}, 400, "suffix"),
    ("generate", {"prompt": "a", "template": "b"}, 400, "template"),
    ("generate", {"prompt": "a", "raw": True, "system": "b"}, 400, "system"),
    ("generate", {"prompt": "a", "images": ["A"]}, 400, "images"),
    ("generate", {"prompt": "a " * 2048}, 400, "prompt is too long"),
    ("show", {"model": "nothing"}, 404, "does not exist"),
    ("embed", {"input": "a"}, 400, "embedding"),
    ("embeddings", {"prompt": "a"}, 400, "embedding"),
]


async def test_errors_are_one_sentence(live, subtests):
    """Under `error`, as its clients read it, with the status they know."""
    for path, fields, status, message in REFUSED:
        with subtests.test(path=path, message=message):
            response = await live.http.post(f"/api/{path}", json={"model": "tiny"} | fields)

            assert response.status_code == status
            assert list(response.json()) == ["error"]
            assert message in response.json()["error"]


async def test_who_waits_can_still_parse_each_line(fake_engine, tmp_path):
    """A stream is kept alive by what JSON parsers skip."""
    fake_engine.hold_loads = True
    card = add_model(fake_engine, tmp_path, "tiny")
    body = {"model": "tiny", "messages": MESSAGES}
    async with (
        serving(fake_engine, tmp_path, limits=IMPATIENT | {"shutdown_seconds": 1}) as live,
        live.http.stream("POST", "/api/chat", json=body) as response,
    ):
        chunks = response.aiter_raw()
        waited = await anext(chunks)
        fake_engine.finish_load(card.path)
        rest = b"".join([chunk async for chunk in chunks])

    assert waited.isspace()
    lines = (waited + rest).decode().splitlines()
    assert "".join(json.loads(line)["message"]["content"] for line in lines) == "Hello, world!"


async def test_a_late_error_raises_in_the_client(live, client):
    """An error line in a stream becomes the client's own exception."""
    live.engine.gate.clear()
    live.engine.step()
    stream = await client.chat("tiny", MESSAGES, stream=True)
    await anext(stream)
    live.engine.lose("cpu")
    live.engine.gate.set()

    with pytest.raises(ollama.ResponseError, match="died"):
        async for _ in stream:
            pass
