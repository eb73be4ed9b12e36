"""One gateway in front of another: every API, as if the model were here."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.api import Delta, Device, EngineError, ToolCallDelta, Usage
from gateway.config import SettingsError, load_settings
from gateway.reload import take_over
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import IMPATIENT, Live, add_model, serving

HELLO = [{"role": "user", "content": "hello there"}]
CHAT = {"model": "org/far", "messages": HELLO}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
async def back(tmp_path: Path) -> AsyncIterator[Live]:
    """The other server: `org/far` chats and calls tools, `vectors` embeds, `ranker` ranks."""
    engine, folder = FakeEngine(), tmp_path / "back"
    add_model(engine, folder, "org/far", capabilities=("tools",), context_length=512)
    sized: dict[str, Any] = {"embedding_size": 2, "weights_bytes": 100}
    add_model(engine, folder, "vectors", tasks=("embedding",), **sized)
    ranker = add_model(engine, folder, "ranker", tasks=("rerank",), weights_bytes=100)
    engine.vector_sizes[ranker.path] = 1
    async with serving(engine, folder) as live:
        yield live
    assert not engine.bugs


def behind(back: Live, **fields: Any) -> dict[str, Any]:
    return {"name": "back", "base_url": f"{back.url}/v1", "retries": 0, **fields}


@pytest.fixture
async def front(fake_engine: FakeEngine, tmp_path: Path, back: Live) -> AsyncIterator[Live]:
    """The one in front, with a model `near` of its own, and all that the other lists."""
    folder = tmp_path / "front"
    add_model(fake_engine, folder, "near")
    settings: dict[str, Any] = {
        "aliases": {"alias": "org/far"},
        "presets": {"terse": {"model": "org/far", "max_tokens": 2, "system": "be terse"}},
    }
    async with serving(fake_engine, folder, upstreams=[behind(back)], **settings) as live:
        yield live


def events_of(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [msgspec.json.decode(line) for line in lines if line != "[DONE]"]


async def until_hello(pieces: AsyncIterator[str]) -> str:
    """What is said until the first token is."""
    text = ""
    while "Hello" not in text:
        text += await anext(pieces)
    return text


def script(back: Live, *deltas: Delta, model: str = "org/far") -> None:
    path = next(path for path in back.engine._cards if path.endswith(f"{model}.gguf"))
    back.engine.deltas[path] = list(deltas)


async def test_a_chat_in_one_piece(front: Live):
    """With the other's usage, and the name that was asked for."""
    reply = (await front.http.post("/v1/chat/completions", json=CHAT)).json()
    usage = reply["usage"]

    assert reply["choices"][0]["message"]["content"] == "Hello, world!"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2, 4)
    assert reply["model"] == "org/far"


async def test_a_stream_comes_as_it_is_made(front: Live, back: Live):
    """A token is there before the next is made."""
    back.engine.step()
    async with front.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as r:
        pieces = r.aiter_text()
        text = await until_hello(pieces)
        assert "world" not in text
        back.engine.gate.set()
        text += "".join([piece async for piece in pieces])

    words = [e["choices"][0]["delta"].get("content", "") for e in events_of(text)]
    assert "".join(words) == "Hello, world!"
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_calls_of_tools(front: Live, back: Live, stream: bool):
    """Offered there, called there, and told here."""
    call = ToolCallDelta(0, "c1", "weather", '{"at"')
    script(
        back,
        Delta(0, reasoning="hm", tool_calls=[call]),
        Delta(0, tool_calls=[ToolCallDelta(0, arguments=':"Rome"}')]),
        Delta(0, finish_reason="tool_calls", usage=Usage(3, 9, reasoning_tokens=1)),
    )
    body = CHAT | {"tools": [WEATHER], "stream": stream}
    answer = await front.http.post("/v1/chat/completions", json=body)
    if stream:
        choices = [event["choices"][0] for event in events_of(answer.text)]
        calls = [c for choice in choices for c in choice["delta"].get("tool_calls", [])]
        said = "".join(c["function"].get("arguments", "") for c in calls)
        assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c1", "weather")
    else:
        choices = [answer.json()["choices"][0]]
        said = choices[0]["message"]["tool_calls"][0]["function"]["arguments"]
        assert choices[0]["message"]["reasoning_content"] == "hm"
        assert answer.json()["usage"]["completion_tokens_details"]["reasoning_tokens"] == 1

    assert said == '{"at":"Rome"}'
    assert choices[-1]["finish_reason"] == "tool_calls"
    prompt = back.engine.prepared[-1][1]
    assert prompt.tools == [WEATHER]


@pytest.mark.slow
async def test_several_choices_with_logprobs(front: Live):
    """Each with its own, and the numbers of its tokens, which the other says."""
    body = CHAT | {"n": 2, "logprobs": True, "top_logprobs": 1}
    reply = (await front.http.post("/v1/chat/completions", json=body)).json()

    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    for choice in reply["choices"]:
        assert [t["token_id"] for t in choice["logprobs"]["content"]] == [0, 1, 2, 3]
    assert reply["usage"]["completion_tokens"] == 8


@pytest.mark.slow
async def test_a_completion(front: Live):
    """Of several prompts, by the alias."""
    body = {"model": "alias", "prompt": ["once", "more"], "max_tokens": 2, "logprobs": 1}
    reply = (await front.http.post("/v1/completions", json=body)).json()

    assert [choice["text"] for choice in reply["choices"]] == ["Hello, ", "Hello, "]
    assert reply["choices"][1]["finish_reason"] == "length"
    assert reply["choices"][0]["logprobs"]["tokens"] == ["Hello", ", "]


@pytest.mark.slow
async def test_a_preset_of_it(front: Live, back: Live):
    """What it says is laid under a request here, as for a model of ours."""
    reply = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "terse"})

    assert reply.json()["choices"][0]["message"]["content"] == "Hello, "
    assert back.engine.prepared[-1][1].messages[0] == {"role": "system", "content": "be terse"}


async def test_responses(front: Live):
    """Streamed, kept, and gone on from."""
    body = {"model": "org/far", "input": "hello", "stream": True}
    events = events_of((await front.http.post("/v1/responses", json=body)).text)
    done = events[-1]["response"]
    again = {"model": "org/far", "input": "more", "previous_response_id": done["id"]}
    reply = (await front.http.post("/v1/responses", json=again)).json()

    assert events[-1]["type"] == "response.completed"
    assert done["output"][0]["content"][0]["text"] == "Hello, world!"
    assert reply["usage"]["input_tokens"] > done["usage"]["input_tokens"]


async def test_anthropics_messages(front: Live):
    """Another API, and nothing that is peculiar to it."""
    body = {"model": "org/far", "max_tokens": 50, "messages": HELLO}
    reply = (await front.http.post("/v1/messages", json=body)).json()

    assert reply["content"] == [{"type": "text", "text": "Hello, world!"}]
    assert reply["stop_reason"] == "end_turn"
    assert reply["usage"]["output_tokens"] == 4


@pytest.mark.slow
async def test_ollamas_chat(front: Live):
    """And one that frames its streams otherwise."""
    body = {"model": "org/far:latest", "messages": HELLO}
    lines = (await front.http.post("/api/chat", json=body)).text.splitlines()
    answers = [msgspec.json.decode(line) for line in lines]

    assert "".join(answer["message"]["content"] for answer in answers) == "Hello, world!"
    assert (answers[-1]["done"], answers[-1]["eval_count"]) == (True, 4)


async def test_vectors(front: Live):
    """Exactly the other's values, in numbers and packed."""
    body = {"model": "vectors", "input": ["one two", "three"]}
    reply = (await front.http.post("/v1/embeddings", json=body)).json()
    packed = await front.http.post("/v1/embeddings", json=body | {"encoding_format": "base64"})

    assert [each["embedding"][0] for each in reply["data"]] == [2.0, 1.0]
    assert reply["usage"]["prompt_tokens"] == 3
    assert isinstance(packed.json()["data"][0]["embedding"], str)


@pytest.mark.slow
async def test_ranks(front: Live, back: Live):
    """In the other's order, with its scores."""
    body = {"model": "ranker", "query": "q", "documents": ["a", "b c d"]}
    there = (await back.http.post("/v1/rerank", json=body)).json()
    here = (await front.http.post("/v1/rerank", json=body)).json()

    assert [r["index"] for r in here["results"]] == [r["index"] for r in there["results"]]
    scores = [r["relevance_score"] for r in there["results"]]
    assert [r["relevance_score"] for r in here["results"]] == pytest.approx(scores, abs=1e-6)


async def test_they_are_listed(front: Live):
    """Beside ours, by whoever has them, and as far as is known of them."""
    models = {m["id"]: m for m in (await front.http.get("/v1/models")).json()["data"]}
    one = (await front.http.get("/v1/models/ORG%2FFAR")).json()
    tags = {m["name"] for m in (await front.http.get("/api/tags")).json()["models"]}

    assert set(models) == tags == {"near", "org/far", "ranker", "terse", "vectors"}
    assert models["org/far"] == one
    assert (one["owned_by"], one["state"], one["context_length"]) == ("back", "remote", 512)
    assert models["vectors"]["tasks"] == ["embedding"]
    assert models["near"]["state"] == "unloaded"


@pytest.mark.slow
async def test_what_only_its_own_server_can_do(front: Live):
    """Neither loaded nor counted here; and a name that nobody knows is nobody's."""
    load = await front.http.post("/models/load", json={"model": "org/far"})
    unknown = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "nowhere"})

    assert load.status_code == 400
    assert "another server" in load.json()["error"]["message"]
    assert unknown.json()["error"]["code"] == "model_not_found"


async def test_what_is_wrong_with_a_request_is_the_clients(front: Live):
    """The other server's finding is told, though it is not a word of ours."""
    body = CHAT | {"max_tokens": 99999}
    answer = await front.http.post("/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_a_stream_that_is_cut_ends_in_an_error(front: Live, back: Live):
    """And is not closed as if it had come to its end."""
    back.engine.step()
    async with front.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as r:
        pieces = r.aiter_text()
        text = await until_hello(pieces)
        back.engine.lose("cpu")
        back.engine.gate.set()
        text += "".join([piece async for piece in pieces])

    assert "[DONE]" not in text
    assert events_of(text)[-1]["error"]["code"] == "upstream_failed"
    back.engine.restore("cpu")


async def test_a_client_that_leaves_stops_the_other_server(front: Live, back: Live):
    """What nobody reads any more is not made."""
    back.engine.step()
    async with front.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as r:
        await until_hello(r.aiter_text())
    await front.answered()
    await back.answered()

    assert [model.streams for model in back.engine.models.values()] == [0]
    back.engine.gate.set()


async def test_a_client_that_waits_hears_something(
    fake_engine: FakeEngine, tmp_path: Path, back: Live
):
    """Headers do not wait for a slow server for ever, as for a model of ours."""
    back.engine.gate.clear()
    settings = {"upstreams": [behind(back)], "limits": {"shutdown_seconds": 1, **IMPATIENT}}
    body = CHAT | {"stream": True}
    async with (
        serving(fake_engine, tmp_path, **settings) as front,
        front.http.stream("POST", "/v1/chat/completions", json=body) as reply,
    ):
        assert (await anext(reply.aiter_text())).startswith(": ")
        back.engine.gate.set()


async def test_a_model_here_goes_before_one_there(
    fake_engine: FakeEngine, tmp_path: Path, back: Live
):
    """The same name means ours; the other's goes by its server's name."""
    folder = tmp_path / "front"
    add_model(fake_engine, folder, "org/far")
    async with serving(fake_engine, folder, upstreams=[behind(back)]) as front:
        await front.http.post("/v1/chat/completions", json=CHAT)
        assert not back.engine.generations
        await front.http.post("/v1/chat/completions", json=CHAT | {"model": "back/org/far"})

    assert len(fake_engine.generations) == len(back.engine.generations) == 1


FALLBACKS = {"near": {"fallback": "org/far"}, "org/far": {"fallback": "near"}}


@pytest.mark.parametrize(
    ("path", "stream"), [("/v1/chat/completions", False), ("/v1/responses", True)]
)
async def test_another_server_stands_in_for_a_model(tmp_path: Path, back: Live, path: str, stream):
    """One that is too large for this machine is answered for by the one that the settings name."""
    engine, folder = FakeEngine(devices=[Device("cpu", 100)]), tmp_path / "front"
    add_model(engine, folder, "near")
    settings = {"model": FALLBACKS, "upstreams": [behind(back)]}
    body = {"model": "near", "messages": HELLO, "input": "hello", "stream": stream}
    async with serving(engine, folder, **settings) as front:
        answer = await front.http.post(path, json=body)

    assert answer.status_code == 200
    assert "world" in answer.text
    assert '"model":"org/far"' in answer.text


async def test_a_model_here_stands_in_for_another_server(
    fake_engine: FakeEngine, tmp_path: Path, back: Live
):
    """One that is down, and of which only the settings say that it has the model."""
    folder = tmp_path / "front"
    add_model(fake_engine, folder, "near")
    nowhere = behind(back, base_url="http://127.0.0.1:1/v1", models=["org/far"])
    settings = {"model": FALLBACKS, "upstreams": [nowhere]}
    async with serving(fake_engine, folder, **settings) as front:
        answer = await front.http.post("/v1/chat/completions", json=CHAT)
        fake_engine.errors["load"] = EngineError("out_of_memory", "no room")
        failed = await front.http.post("/v1/embeddings", json={"model": "org/far", "input": "a"})

    assert answer.json()["model"] == "near"
    assert failed.status_code == 400, "who stands in is for chats"


@pytest.mark.slow
async def test_those_who_stand_in_for_each_other_end(
    fake_engine: FakeEngine, tmp_path: Path, back: Live
):
    """Each is asked once, and the last one's failure is told."""
    folder = tmp_path / "front"
    add_model(fake_engine, folder, "near")
    fake_engine.errors["load"] = EngineError("bad_checkpoint", "torn")
    nowhere = behind(back, base_url="http://127.0.0.1:1/v1", models=["org/far"])
    settings = {"model": FALLBACKS, "upstreams": [nowhere]}
    async with serving(fake_engine, folder, **settings) as front:
        answer = await front.http.post("/v1/chat/completions", json=CHAT)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_load_failed"


async def test_a_fallback_that_is_not_there_is_not_told_of(tmp_path: Path):
    """The client hears of the model that it asked for."""
    engine, folder = FakeEngine(devices=[Device("cpu", 100)]), tmp_path / "front"
    add_model(engine, folder, "near")
    async with serving(engine, folder, model={"near": {"fallback": "nowhere"}}) as front:
        answer = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "near"})

    assert answer.status_code == 507
    assert answer.json()["error"]["code"] == "model_too_large"


async def test_what_the_client_did_wrong_goes_nowhere_else(
    fake_engine: FakeEngine, tmp_path: Path, back: Live
):
    """Another model would have to refuse it as well."""
    folder = tmp_path / "front"
    add_model(fake_engine, folder, "near")
    settings = {"model": FALLBACKS, "upstreams": [behind(back)]}
    async with serving(fake_engine, folder, **settings) as front:
        body = {"model": "near", "messages": HELLO, "max_tokens": 99999}
        answer = await front.http.post("/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert not back.engine.generations


async def test_metrics(front: Live):
    """Attempts by upstream and model, and how long the first of an answer took."""
    await front.http.post("/v1/chat/completions", json=CHAT)
    text = (await front.http.get("/metrics")).text

    labels = 'model="org/far",outcome="answered",upstream="back"'
    assert f"roundhouse_upstream_attempts_total{{{labels}}} 1.0" in text
    assert 'roundhouse_upstream_first_seconds_count{upstream="back"} 1.0' in text


def retold(live: Live, *upstreams: dict[str, Any], **settings: Any) -> None:
    """Takes over other upstreams."""
    folder = live.services.settings.models_dir
    values = {"models_dir": folder, "upstreams": list(upstreams), **settings}
    take_over(live.services, load_settings(None, values, {}))


async def test_servers_that_ask_each_other_end(fake_engine: FakeEngine, tmp_path: Path, back: Live):
    """With an error that says so, after one round, and with no rest for anybody."""
    async with serving(fake_engine, tmp_path / "front", upstreams=[behind(back)]) as front:
        both = {"retries": 3, "models": ["nowhere"]}
        retold(front, behind(back, **both))
        retold(back, behind(front, **both))

        for _ in range(6):
            reply = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "nowhere"})

            assert (reply.status_code, reply.json()["error"]["code"]) == (508, "upstream_loop")


async def test_upstreams_come_and_go_while_requests_run(front: Live, back: Live):
    """What is gone is asked no more, but for the streams that it has begun; what is new is there."""
    back.engine.gate.clear()
    back.engine.step()
    lines: list[str] = []
    async with front.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as r:
        text = r.aiter_text()
        lines.append(await until_hello(text))
        retold(front, {**behind(back, models={"renamed": "org/far"}), "name": "new"})
        back.engine.gate.set()
        lines += [piece async for piece in text]

    assert lines[-1].endswith("data: [DONE]\n\n")
    assert '"error"' not in "".join(lines)
    assert (await front.http.post("/v1/chat/completions", json=CHAT)).status_code == 404
    renamed = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "renamed"})
    assert renamed.status_code == 200


async def test_upstreams_that_cannot_be_used_change_nothing(front: Live, back: Live):
    """Neither they nor anything else of those settings."""
    with pytest.raises(SettingsError, match="base_url"):
        retold(front, behind(back, base_url="ftp://x"), aliases={"new": "near"})

    assert (await front.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
    new = await front.http.post("/v1/chat/completions", json=CHAT | {"model": "new"})
    assert new.status_code == 404


async def test_equal_upstreams_keep_their_connections(front: Live, back: Live):
    client = front.services.upstreams._clients["back"]

    retold(front, behind(back), aliases={"other": "near"})

    assert front.services.upstreams._clients["back"] is client
    assert (await front.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
