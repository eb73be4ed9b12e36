"""Anthropic's messages API through its official SDK, as clients see it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from engine.api import Delta, EngineError, ToolCallDelta, ToolChoice, Usage
from tests.gateway.live import IMPATIENT, Live, add_model, serving

URL = "/v1/messages"
MESSAGES: list[Any] = [{"role": "user", "content": "say hello"}]
THINKS = {"type": "enabled", "budget_tokens": 1024}
THOUGHT_AND_CALLS = [
    Delta(0, reasoning="hm"),
    Delta(0, reasoning="m"),
    Delta(0, "so"),
    Delta(0, tool_calls=[ToolCallDelta(0, "call_1", "look")]),
    Delta(0, tool_calls=[ToolCallDelta(0, arguments='{"at":')]),
    Delta(0, tool_calls=[ToolCallDelta(0, arguments='"x"}'), ToolCallDelta(1, "call_2", "nop")]),
    Delta(0, finish_reason="tool_calls", usage=Usage(12, 9, cached_tokens=8)),
]


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 50, "messages": MESSAGES} | fields


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


@pytest.fixture
async def client(live: Live):
    async with anthropic.AsyncAnthropic(base_url=live.url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def scripted(live: Live, tmp_path: Path) -> Live:
    """`org/tiny` thinks, speaks and calls two tools."""
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = THOUGHT_AND_CALLS
    return live


async def test_a_message(client):
    """The async SDK reads text, usage, stop reason and request id."""
    message = await client.messages.create(**body())

    assert [block.text for block in message.content] == ["Hello, world!"]
    assert (message.role, message.model, message.stop_reason) == (
        "assistant",
        "org/tiny",
        "end_turn",
    )
    assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 4)
    assert message.id.startswith("msg_")


async def test_the_sync_sdk_streams(live):
    """Text comes in pieces, and the SDK puts the same message together from them."""

    def talk() -> tuple[str, anthropic.types.Message]:
        with (
            anthropic.Anthropic(base_url=live.url, api_key="none") as client,
            client.messages.stream(**body()) as stream,
        ):
            return "".join(stream.text_stream), stream.get_final_message()

    text, message = await asyncio.to_thread(talk)

    assert text == message.content[0].text == "Hello, world!"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 4)


async def test_the_events_and_their_order(scripted):
    """Each block begins, grows and ends before the next; thinking is signed; the usage comes last."""
    response = await scripted.http.post(URL, json=body(stream=True, thinking=THINKS))

    events = events_of(response.text)
    steps = [
        (e["type"], e["delta"]["type"] if "index" in e and "delta" in e else "") for e in events
    ]
    assert steps == [
        ("message_start", ""),
        ("content_block_start", ""),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "thinking_delta"),
        ("content_block_delta", "signature_delta"),
        ("content_block_stop", ""),
        ("content_block_start", ""),
        ("content_block_delta", "text_delta"),
        ("content_block_stop", ""),
        ("content_block_start", ""),
        ("content_block_delta", "input_json_delta"),
        ("content_block_delta", "input_json_delta"),
        ("content_block_stop", ""),
        ("content_block_start", ""),
        ("content_block_stop", ""),
        ("message_delta", ""),
        ("message_stop", ""),
    ]
    names = [line[7:] for line in response.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert [e["index"] for e in events if e["type"] == "content_block_start"] == [0, 1, 2, 3]
    assert events[0]["message"]["usage"]["input_tokens"] == 2
    assert events[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert events[-2]["usage"] == {
        "input_tokens": 4,
        "output_tokens": 9,
        "cache_read_input_tokens": 8,
        "cache_creation_input_tokens": 0,
    }


async def test_a_stream_and_a_whole_message_say_the_same(scripted, client):
    """What the SDK accumulates is what it gets in one piece."""
    whole = await client.messages.create(**body(thinking=THINKS))
    async with client.messages.stream(**body(thinking=THINKS)) as stream:
        streamed = await stream.get_final_message()

    assert [b.type for b in whole.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [b.input for b in whole.content[2:]] == [{"at": "x"}, {}]
    assert [b.to_dict() for b in streamed.content] == [b.to_dict() for b in whole.content]
    assert streamed.usage == whole.usage


async def test_thinking_is_shown_to_who_asks(scripted, client):
    """Without `thinking` its blocks are left out, and the template is told to do without."""
    message = await client.messages.create(**body())

    assert [block.type for block in message.content] == ["text", "tool_use", "tool_use"]
    _, prompt = scripted.engine.prepared[-1]
    assert prompt.template_kwargs["enable_thinking"] is False


async def test_a_stop_sequence_is_named(live, tmp_path, client):
    """The reply says which of them ended it."""
    live.engine.deltas[str(tmp_path / "org/tiny.gguf")] = [
        Delta(0, "a", finish_reason="stop", stop_string="END", usage=Usage(2, 1))
    ]

    message = await client.messages.create(**body(stop_sequences=["END", "###"]))

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    ((_, _, (run,)),) = live.engine.generations
    assert run.generation.stop == ("END", "###")


@pytest.mark.parametrize("nested", [True, False])
async def test_an_output_format_is_a_grammar(live, nested):
    """Under its present name and under its first one."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "schema": schema}
    fields = {"output_config": {"format": wanted}} if nested else {"output_format": wanted}

    response = await live.http.post(URL, json=body(**fields))

    assert response.status_code == 200, response.text
    ((_, _, (run,)),) = live.engine.generations
    assert schema.items() <= json.loads(run.generation.grammar.text).items()


CHOICES = [
    ({"type": "auto"}, ToolChoice()),
    ({"type": "any"}, ToolChoice("required")),
    ({"type": "tool", "name": "nop"}, ToolChoice("required", ("nop",), is_parallel=False)),
    ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(is_parallel=False)),
    ({"type": "none"}, None),
]


async def test_which_tools_are_called(live, client, subtests):
    """Each choice has its like in the engine."""
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "nop")]
    for choice, expected in CHOICES:
        with subtests.test(choice=choice):
            await client.messages.create(**body(tools=tools, tool_choice=choice))

            (run,) = live.engine.generations[-1][2]
            assert run.generation.tools == expected


async def test_max_tokens_are_clamped_to_the_window(live, client):
    """Clients ask for tens of thousands of tokens whatever the model; they get what there is."""
    await client.messages.create(**body(max_tokens=32000), timeout=60)

    ((_, _, (run,)),) = live.engine.generations
    assert run.generation.max_tokens == 2048 - 2


async def test_a_conversation_reaches_the_template(live, client):
    """Results are messages of their own, thinking stays apart, billing lines and cache marks go."""
    marked = {"cache_control": {"type": "ephemeral"}}
    await client.messages.create(
        **body(
            system=[
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=1"},
                {"type": "text", "text": "Be brief.", **marked},
            ],
            messages=[
                {"role": "user", "content": [{"type": "text", "text": "where", **marked}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "here"},
                        {"type": "text", "text": "and"},
                    ],
                },
            ],
            tools=[{"name": "look", "input_schema": {"type": "object"}, "description": "d"}],
        )
    )

    _, prompt = live.engine.prepared[-1]
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": {"at": 1}}}
    assert prompt.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "where"},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "hm"},
        {"role": "tool", "content": "here", "tool_call_id": "t1", "name": "look"},
        {"role": "user", "content": "and"},
    ]
    (tool,) = prompt.tools
    assert tool["function"] == {
        "name": "look",
        "parameters": {"type": "object"},
        "description": "d",
    }


async def test_what_claude_code_sends(live):
    """Its query, betas, late system messages and settings for Anthropic's servers do no harm."""
    response = await live.http.post(
        f"{URL}?beta=true",
        headers={"anthropic-beta": "claude-code-20250219", "authorization": "Bearer none"},
        json=body(
            messages=[*MESSAGES, {"role": "system", "content": "late"}],
            thinking={"type": "adaptive"},
            context_management={"edits": []},
            output_config={"effort": "high"},
            metadata={"user_id": "u"},
            stream=True,
        ),
    )

    assert events_of(response.text)[-1] == {"type": "message_stop"}
    _, prompt = live.engine.prepared[-1]
    assert prompt.template_kwargs == {"enable_thinking": True, "reasoning_effort": "high"}


async def test_tokens_are_counted_without_a_load(live, client):
    """The prompt alone is read, so no model has to come."""
    count = await client.messages.count_tokens(model="tiny", messages=MESSAGES, system="be brief")

    assert count.input_tokens == 4
    assert not live.engine.loads
    assert len(live.engine.discarded) == 1


async def test_models_are_listed_its_way(client, live):
    """Whoever sends Anthropic's header gets its list; others get OpenAI's."""
    listed = [model async for model in client.models.list()]
    one = await client.models.retrieve("tiny")

    assert [model.id for model in listed] == ["base", "org/tiny", "other"]
    assert (one.id, one.type, one.display_name) == ("org/tiny", "model", "tiny")
    assert (await live.http.get("/v1/models")).json()["object"] == "list"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers(live, method):
    """Clients knock there before they ask anything."""
    assert (await live.http.request(method, "/")).status_code == 200


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}


REFUSED = [
    ({"model": "nothing"}, 404, "not_found_error", "nothing"),
    ({"model": "broken"}, 503, "api_error", "broken"),
    ({"model": "base"}, 400, "invalid_request_error", "chat template"),
    ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens"),
    ({"messages": []}, 400, "invalid_request_error", "messages"),
    ({"temperature": 7}, 400, "invalid_request_error", "temperature"),
    ({"mcp_servers": [{}]}, 400, "invalid_request_error", "mcp_servers"),
    (
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        400,
        "invalid_request_error",
        "web_search_20250305",
    ),
    (
        {"messages": [{"role": "user", "content": [IMAGE]}]},
        400,
        "invalid_request_error",
        "'image'",
    ),
    (
        {"messages": [*MESSAGES, {"role": "assistant", "content": "Well"}]},
        400,
        "invalid_request_error",
        "last",
    ),
    (
        {"messages": [{"role": "user", "content": "a " * 2048}]},
        400,
        "invalid_request_error",
        "prompt is too long: 2048 tokens > 2047 maximum",
    ),
]


async def test_errors_have_its_shape(live, subtests):
    """Type and message, the request's id, and the status that its SDKs know."""
    for fields, status, kind, message in REFUSED:
        with subtests.test(message=message):
            response = await live.http.post(URL, json=body(**fields))

            answer = response.json()
            assert (response.status_code, answer["type"]) == (status, "error")
            assert answer["error"]["type"] == kind
            assert message in answer["error"]["message"]
            assert answer["request_id"] == response.headers["x-request-id"]


async def test_what_passes_is_an_overload(live):
    """529 is the status for it, and the SDK may try again."""
    live.engine.errors["generate"] = EngineError("out_of_memory", "full")

    response = await live.http.post(URL, json=body())

    assert response.status_code == 529
    assert response.json()["error"]["type"] == "overloaded_error"
    assert "retry-after" in response.headers


async def test_who_waits_hears_pings(fake_engine, tmp_path):
    """While the model loads a stream is kept alive, and the SDK skips what keeps it."""
    fake_engine.hold_loads = True
    card = add_model(fake_engine, tmp_path, "tiny")
    async with (
        serving(fake_engine, tmp_path, limits=IMPATIENT | {"shutdown_seconds": 1}) as live,
        live.http.stream("POST", URL, json=body(stream=True)) as response,
    ):
        lines = response.aiter_lines()
        async for line in lines:
            if line == "event: ping":
                break
        fake_engine.finish_load(card.path)
        rest = [line async for line in lines]

    assert 'data: {"type":"ping"}' in rest
    assert rest[-2] == 'data: {"type":"message_stop"}'


async def test_a_late_error_raises_in_the_sdk(live, client):
    """An error event in a stream becomes the SDK's own exception with our message."""
    live.engine.gate.clear()
    live.engine.step()
    stream = await client.messages.create(**body(stream=True))
    await anext(stream)
    live.engine.lose("cpu")
    live.engine.gate.set()

    with pytest.raises(anthropic.APIError, match="died"):
        async for _ in stream:
            pass
