"""The Responses API through the official SDK, as clients see it."""

import asyncio
import json
import sqlite3
from contextlib import closing

import httpx
import openai
import pytest

from engine.api import Delta, EngineError, TokenLogprob, ToolCallDelta, Usage
from tests.gateway.live import IMPATIENT, Live, add_model, serving

URL = "/v1/responses"
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}


@pytest.fixture
async def client(live: Live):
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


@pytest.fixture
def thinker(live, tmp_path):
    """The tiny model thinks, speaks and calls two functions."""
    call = ToolCallDelta
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = [
        Delta(0, reasoning="Hm"),
        Delta(0, reasoning="m."),
        Delta(0, "Let me"),
        Delta(0, " look."),
        Delta(0, tool_calls=[call(0, "call_a", "look", "")]),
        Delta(0, tool_calls=[call(0, arguments='{"at":'), call(0, arguments='"it"}')]),
        Delta(0, tool_calls=[call(1, "call_b", "look", "{}")]),
        Delta(0, finish_reason="tool_calls", usage=Usage(7, 9, 3, 2)),
    ]
    return live


def events_of(text: str) -> list[dict]:
    """The events of a stream, each named as its type says."""
    events = []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            continue  # a sign of life, where the machine is slow
        name, _, data = block.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


async def streamed(live: Live, **fields: object) -> list[dict]:
    body = {"model": "tiny", "input": "hi", "stream": True} | fields
    return events_of((await live.http.post(URL, json=body)).text)


async def test_a_response(client):
    """The SDK reads text, usage and status."""
    response = await client.responses.create(model="tiny", input="say hello")

    assert response.output_text == "Hello, world!"
    assert (response.status, response.model, response.object) == (
        "completed",
        "org/tiny",
        "response",
    )
    assert (response.usage.input_tokens, response.usage.total_tokens) == (2, 6)
    assert response.id.startswith("resp_")


async def test_every_event_in_order(thinker):
    """Items open and close one after the other, numbered without gaps, as SDKs count on."""
    events = await streamed(thinker, tools=[TOOL])

    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done
    assert [item["type"] for item in done] == ["reasoning", "message", *["function_call"] * 2]
    assert done[0]["content"] == [{"type": "reasoning_text", "text": "Hmm."}]
    assert (done[2]["call_id"], done[2]["arguments"]) == ("call_a", '{"at":"it"}')


async def test_thoughts_are_the_summary_of_those_who_ask_for_one(thinker):
    """Clients that show summaries show the thoughts; they are not sent twice."""
    events = await streamed(thinker, reasoning={"summary": "auto"})

    kinds = [e["type"] for e in events if "reasoning" in e["type"]]
    assert kinds == [
        f"response.reasoning_summary_{kind}"
        for kind in ("part.added", "text.delta", "text.delta", "text.done", "part.done")
    ]
    item = events[-1]["response"]["output"][0]
    assert (item["summary"], item["content"]) == ([{"type": "summary_text", "text": "Hmm."}], [])


async def test_a_whole_response_is_what_the_stream_ends_with(thinker):
    """Streamed or not, the same is said."""
    whole = (await thinker.http.post(URL, json={"model": "tiny", "input": "hi"})).json()
    last = (await streamed(thinker))[-1]["response"]

    for response in (whole, last):
        for name in ("id", "created_at", "completed_at"):
            response.pop(name)
        for item in response["output"]:
            item.pop("id")
    assert whole == last
    assert whole["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
    }


async def test_the_stream_helper_accumulates(client, thinker):
    """The SDK's own state machine accepts every event."""
    async with client.responses.stream(model="tiny", input="hi") as stream:
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()

    assert kinds[-1] == "response.completed"
    assert response.output_text == "Let me look."
    assert [item.type for item in response.output][2:] == ["function_call"] * 2


async def test_a_response_that_was_cut_is_incomplete(client):
    """The reason is there, and what was said so far."""
    response = await client.responses.create(model="tiny", input="hi", max_output_tokens=2)

    assert (response.status, response.incomplete_details.reason) == (
        "incomplete",
        "max_output_tokens",
    )
    assert (response.output_text, response.output[0].status) == ("Hello, ", "incomplete")


async def test_nothing_said_is_an_empty_message(live, tmp_path):
    """Clients look for a message even where the model ended at once."""
    path = str(tmp_path / "org/tiny.gguf")
    live.engine.deltas[path] = [Delta(0, finish_reason="stop", usage=Usage(1, 1))]

    response = (await live.http.post(URL, json={"model": "tiny", "input": "hi"})).json()

    assert [part["text"] for part in response["output"][0]["content"]] == [""]


async def test_logprobs_come_with_the_text_that_they_are_of(client, live, tmp_path):
    """Those of a token whose text is held back come with the next text; thoughts have none."""
    tokens = [TokenLogprob(n, "x", b"x", -0.5, []) for n in range(4)]
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = [
        Delta(0, reasoning="Hm", logprobs=tokens[:1]),
        Delta(0, logprobs=tokens[1:2]),
        Delta(0, "ab", logprobs=tokens[2:3], finish_reason="stop", usage=Usage(1, 3)),
    ]

    response = await client.responses.create(
        model="tiny", input="hi", include=["message.output_text.logprobs"], top_logprobs=1
    )

    shown = response.output[1].content[0].logprobs
    assert [logprob.token_id for logprob in shown] == [1, 2]
    assert live.engine.generations[0][2][0].generation.sampling.logprobs == 1


async def test_a_conversation_goes_on(client, live):
    """What was said before comes first; instructions are of one response only."""
    first = await client.responses.create(model="tiny", input="one", instructions="Be brief.")
    second = await client.responses.create(model="tiny", input="two", previous_response_id=first.id)
    third = await client.responses.create(
        model="tiny", input="three", previous_response_id=second.id, store=False
    )

    _, prompt = live.engine.prepared[-1]
    assert [(m["role"], m["content"]) for m in prompt.messages] == [
        ("user", "one"),
        ("assistant", "Hello, world!"),
        ("user", "two"),
        ("assistant", "Hello, world!"),
        ("user", "three"),
    ]
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(third.id)


async def test_kept_responses_are_fetched_and_deleted(client):
    """A deleted response is gone, and nothing goes on from it."""
    made = await client.responses.create(model="tiny", input="hi", metadata={"a": "b"})

    assert await client.responses.retrieve(made.id) == made
    await client.responses.delete(made.id)
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            await call(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="tiny", input="hi", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"
    assert caught.value.param == "previous_response_id"


async def test_input_items_are_paged(client):
    """The SDK walks through all of them, page by page."""
    asked = [{"role": "user", "content": f"number {n}"} for n in range(5)]
    made = await client.responses.create(model="tiny", input=asked)

    listed = [i async for i in client.responses.input_items.list(made.id, limit=2, order="asc")]
    newest = await client.responses.input_items.list(made.id, limit=1)

    assert [item.content[0].text for item in listed] == [f"number {n}" for n in range(5)]
    assert (newest.data[0].id, newest.has_more) == (listed[-1].id, True)


async def test_an_item_may_be_named_instead_of_sent_again(client, live):
    """As AI SDKs do with what they know to be stored."""
    made = await client.responses.create(model="tiny", input="hi")
    reference = {"type": "item_reference", "id": made.output[0].id}

    await client.responses.create(model="tiny", input=[reference, {"role": "user", "content": "b"}])

    _, prompt = live.engine.prepared[-1]
    assert [m["content"] for m in prompt.messages] == ["Hello, world!", "b"]
    with pytest.raises(openai.BadRequestError, match=r"input\[0\].id"):
        await client.responses.create(model="tiny", input=[reference | {"id": "msg_no"}])


async def test_input_tokens_are_counted_without_a_model_in_memory(client, live):
    """Counting costs no swap, and leaves nothing behind in the text process."""
    counted = await client.responses.input_tokens.count(model="tiny", input="one two three")

    assert counted.input_tokens == 3
    assert not live.engine.loads
    assert live.engine.discarded == [1]


async def test_formats_and_choices_reach_the_engine(client, live):
    """As those of a chat do, and what the engine says of them names our fields."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}

    await client.responses.create(
        model="tiny", input="hi", tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    )
    await client.responses.create(model="tiny", input="hi", text=text)

    choices, formats = (runs[0].generation for _, _, runs in live.engine.generations)
    assert (choices.tools.mode, choices.tools.is_parallel) == ("required", False)
    assert formats.grammar.kind == "json_schema"
    assert json.loads(formats.grammar.text)["properties"] == schema["properties"]
    for wrong, param in (({"type": "json_schema"}, "text.format.schema"), ({"type": "x"}, None)):
        body = {"model": "tiny", "input": "hi", "text": {"format": wrong}}
        error = (await live.http.post(URL, json=body)).json()["error"]
        assert error["param"] == (param or "text.format.type")


async def test_what_codex_sends_is_tolerated(live):
    """Tools that no model here could call are left out; the rest means what it says."""
    body = {
        "model": "tiny",
        "stream": True,
        "store": False,
        "input": [
            {"type": "message", "role": "developer", "id": "msg_1", "content": [
                {"type": "input_text", "text": "You are Codex."}]},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "hi"}]},
        ],
        "tools": [
            TOOL | {"strict": False},
            {"type": "namespace", "name": "n", "tools": [TOOL]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "a",
        "client_metadata": {"b": "c"},
    }  # fmt: skip
    response = await live.http.post(URL, json=body)

    events = events_of(response.text)
    assert events[-1]["type"] == "response.completed"
    assert [tool["name"] for tool in events[-1]["response"]["tools"]] == ["look"]
    _, prompt = live.engine.prepared[-1]
    assert [tool["function"]["name"] for tool in prompt.tools] == ["look"]
    assert [m["role"] for m in prompt.messages] == ["system", "user"]


WRONG = [
    ({"input": []}, "input"),
    ({"input": [{"content": "a"}]}, "input[0].role"),
    ({"input": [{"type": "teapot"}]}, "input[0].type"),
    ({"input": [{"type": "function_call", "name": "a"}]}, "input[0].call_id"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        "input[0].content[0].type",
    ),
    ({"conversation": "conv_1"}, "conversation"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"n": 2}, "n"),
    ({"background": True, "store": False}, "background"),
    ({"background": True, "input": []}, "input"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"max_output_tokens": 5000}, "input"),
    ({"temperature": 3}, "temperature"),
]


async def test_what_is_wrong_is_named_in_the_requests_own_words(live, subtests):
    """Errors speak of `input`, whatever the engine calls it."""
    for fields, param in WRONG:
        with subtests.test(param=param):
            response = await live.http.post(URL, json={"model": "tiny", "input": "hi"} | fields)

            assert response.status_code == 400
            assert response.json()["error"]["param"] == param


async def test_a_late_error_is_an_event_that_ends_the_stream(live):
    """Codex and the SDKs read `response.failed`; what had been said is in it."""
    live.engine.gate.clear()
    live.engine.step()
    body = {"model": "tiny", "input": "hi", "stream": True}
    async with live.http.stream("POST", URL, json=body) as response:
        parts = response.aiter_text()
        text = await anext(parts)
        live.engine.lose("cpu")
        live.engine.gate.set()
        text += "".join([part async for part in parts])

    last = events_of(text)[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == "server_error"
    assert last["response"]["output"][0]["content"][0]["text"] == "Hello"


async def test_an_error_while_its_model_loads_is_a_whole_stream(fake_engine, tmp_path):
    """A response that never began is created, and fails."""
    fake_engine.hold_loads = True
    card = add_model(fake_engine, tmp_path, "tiny")
    body = {"model": "tiny", "input": "hi", "stream": True}
    async with (
        serving(fake_engine, tmp_path, limits=IMPATIENT | {"shutdown_seconds": 1}) as live,
        live.http.stream("POST", URL, json=body) as response,
    ):
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith(": loading tiny")
        fake_engine.fail_load(card.path, EngineError("bad_checkpoint", "scales are NaN"))
        rest = "\n".join([line async for line in lines if not line.startswith(":")])

    kinds = [event["type"] for event in events_of(rest)]
    assert kinds == ["response.created", "response.in_progress", "response.failed"]


async def test_a_response_is_made_in_the_background(client, live):
    """It is queued at once, made whoever listens, and then kept."""
    live.engine.gate.clear()
    queued = await client.responses.create(model="tiny", input="hi", background=True)
    running = await client.responses.retrieve(queued.id)
    live.engine.gate.set()
    await live.answered()
    made = await client.responses.retrieve(queued.id)

    assert (queued.status, running.id) == ("queued", queued.id)
    assert (made.status, made.output_text) == ("completed", "Hello, world!")
    with pytest.raises(openai.BadRequestError, match="stream"):
        await client.responses.retrieve(queued.id, stream=True)


async def test_a_background_response_is_cancelled(client, live):
    """What had been said until then stays; cancelling again changes nothing."""
    live.engine.gate.clear()
    stream = await client.responses.create(model="tiny", input="hi", background=True, stream=True)
    async for event in stream:
        if event.type == "response.queued":
            response_id = event.response.id
            live.engine.step()
        if event.type == "response.output_text.delta":
            break
    cancelled = await client.responses.cancel(response_id)

    assert (cancelled.status, cancelled.output_text) == ("cancelled", "Hello")
    assert await client.responses.cancel(response_id) == cancelled
    assert await client.responses.retrieve(response_id) == cancelled
    assert [model.streams for model in live.engine.models.values()] == [0]


async def test_a_response_in_the_foreground_is_not_cancelled(client):
    """Its client leaves, and that is that."""
    made = await client.responses.create(model="tiny", input="hi")

    with pytest.raises(openai.BadRequestError):
        await client.responses.cancel(made.id)


async def test_events_of_the_background_are_heard_again(client, live):
    """From where one left off, while it is made and after."""
    live.engine.gate.clear()
    stream = await client.responses.create(model="tiny", input="hi", background=True, stream=True)
    first = await anext(aiter(stream))
    await stream.close()
    live.engine.gate.set()
    resumed = await client.responses.retrieve(first.response.id, stream=True, starting_after=0)
    live_numbers = [event.sequence_number async for event in resumed]
    replayed = await client.responses.retrieve(first.response.id, stream=True, starting_after=3)
    late_numbers = [event.sequence_number async for event in replayed]

    assert live_numbers == list(range(1, len(live_numbers) + 1))
    assert late_numbers == live_numbers[3:]


async def test_a_background_response_that_fails_says_why(live):
    """The error is kept with it, and its tickets are given back."""
    live.engine.errors["load"] = EngineError("bad_checkpoint", "scales are NaN")
    body = {"model": "tiny", "input": "hi", "background": True}
    made = (await live.http.post(URL, json=body)).json()
    await live.answered()

    kept = (await live.http.get(f"{URL}/{made['id']}")).json()
    assert kept["status"] == "failed"
    assert "scales are NaN" in kept["error"]["message"]
    assert live.engine.discarded == [1]


async def test_stopping_the_server_ends_the_background_with_an_error(fake_engine, tmp_path):
    """A store in a file says afterwards what became of it."""
    add_model(fake_engine, tmp_path, "tiny")
    store = {"path": str(tmp_path / "kept.sqlite")}
    fake_engine.gate.clear()
    body = {"model": "tiny", "input": "hi", "background": True}
    async with serving(fake_engine, tmp_path, store=store) as live:
        made = (await live.http.post(URL, json=body)).json()
    fake_engine.gate.set()
    async with serving(fake_engine, tmp_path, store=store) as live:
        kept = (await live.http.get(f"{URL}/{made['id']}")).json()

    assert kept["status"] == "failed"
    assert "shutting down" in kept["error"]["message"]


async def test_an_answer_is_given_though_it_cannot_be_kept(fake_engine, tmp_path):
    """A store that fails costs what comes after, not the response itself."""
    add_model(fake_engine, tmp_path, "tiny")
    path = tmp_path / "kept.sqlite"
    async with serving(fake_engine, tmp_path, store={"path": str(path)}) as live:
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE response")
        for more in ({}, {"stream": True}, {"background": True, "stream": True}):
            response = await live.http.post(URL, json={"model": "tiny", "input": "hi"} | more)

            assert response.status_code == 200
            assert '"status":"completed"' in response.text


async def test_a_client_that_leaves_keeps_nothing(live):
    """A response that nobody waited for is not in the store."""
    live.engine.gate.clear()
    live.engine.step()
    body = {"model": "tiny", "input": "hi", "stream": True}
    async with live.http.stream("POST", URL, json=body) as response:
        text = await anext(response.aiter_text())
    await live.answered()

    made = events_of(text)[0]["response"]["id"]
    assert (await live.http.get(f"{URL}/{made}")).status_code == httpx.codes.NOT_FOUND


async def test_many_in_the_background_end_alike(live):
    """Each is heard to its end by its own listener."""

    async def make(n: int) -> list[str]:
        events = await streamed(live, background=True, input=f"number {n}")
        return [event["type"] for event in events]

    heard = await asyncio.gather(*(make(n) for n in range(8)))

    assert {kinds[-1] for kinds in heard} == {"response.completed"}
    assert len({tuple(kinds) for kinds in heard}) == 1
    assert not live.services.detached
