from typing import Any

import msgspec
import pytest

from engine.api import Delta, Generation, TextPrompt, ToolCallDelta, ToolChoice, Usage
from gateway.translate.chat_reply import ChatReply
from gateway.translate.job import Job, Manner

CALLS = [
    Delta(0, reasoning="Hm."),
    Delta(0, "I look.", tool_calls=[ToolCallDelta(0, "call_a", "look", '{"at"')]),
    Delta(0, tool_calls=[ToolCallDelta(0, arguments=": 1}"), ToolCallDelta(1, "call_b", "wait")]),
    Delta(0, tool_calls=[ToolCallDelta(1, arguments="{}")]),
    Delta(0, finish_reason="tool_calls", usage=Usage(3, 9, reasoning_tokens=2)),
]


@pytest.fixture
def reply():
    """A reply to a job of one choice."""

    def make(*, stream: bool = False, tools: ToolChoice | None = None, **manner: Any) -> ChatReply:
        generation, told = Generation(0, tools=tools), Manner(**manner)
        job = Job((TextPrompt("x"),), generation, "messages", stream=stream, manner=told)
        return ChatReply("m", job)

    return make


def as_json(structs: list[Any]) -> list[Any]:
    return [msgspec.to_builtins(struct) for struct in structs]


def whole(reply: ChatReply, deltas: list[Delta]) -> dict[str, Any]:
    for delta in deltas:
        assert reply.add(delta) == []
    return msgspec.to_builtins(reply.whole())


def test_a_whole_reply_holds_its_calls(reply):
    """Each with its arguments as one text; thoughts go by both names, and are counted."""
    body = whole(reply(), CALLS)

    message = body["choices"][0]["message"]
    assert message["tool_calls"] == [
        {
            "id": "call_a",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at": 1}'},
        },
        {"id": "call_b", "type": "function", "function": {"name": "wait", "arguments": "{}"}},
    ]
    assert message["reasoning"] == message["reasoning_content"] == "Hm."
    assert message["content"] == "I look."
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


def test_calls_alone_have_no_content(reply):
    """Null, where a reply that says nothing has an empty text; what there is none of is left out."""
    call = Delta(0, tool_calls=[ToolCallDelta(0, "call_a", "look", "{}")])
    end = Delta(0, finish_reason="stop", usage=Usage(1, 1))

    assert whole(reply(), [call, end])["choices"][0]["message"]["content"] is None
    assert set(whole(reply(), [end])["choices"][0]["message"]) == {"role", "content", "refusal"}


def test_a_stream_says_who_is_called_once(reply):
    """SDKs concatenate strings of the same name: thoughts, words, then each call's pieces."""
    stream = reply(stream=True)

    chunks = as_json([chunk for delta in CALLS for chunk in stream.add(delta)])

    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"reasoning_content": "Hm.", "reasoning": "Hm."},
        {"content": "I look."},
        {"tool_calls": [{"index": 0, "id": "call_a", "type": "function",
                         "function": {"name": "look", "arguments": '{"at"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "id": "call_b", "type": "function",
                         "function": {"name": "wait", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]  # fmt: skip
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "tool_calls"


FUNCTION = [
    Delta(0, tool_calls=[ToolCallDelta(0, "call_a", "look", "")]),
    Delta(0, tool_calls=[ToolCallDelta(0, arguments='{"at": 1}')]),
    Delta(0, finish_reason="tool_calls", usage=Usage(3, 9)),
]


def test_a_function_is_called_as_of_old(reply):
    """One call, without an id, and a finish reason of its own; streamed as well."""
    (choice,) = whole(reply(calls_function=True), FUNCTION)["choices"]
    stream = reply(stream=True, calls_function=True)
    chunks = as_json([chunk for delta in FUNCTION for chunk in stream.add(delta)])

    assert choice["message"]["function_call"] == {"name": "look", "arguments": '{"at": 1}'}
    assert "tool_calls" not in choice["message"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "function_call")
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"function_call": {"name": "look", "arguments": ""}},
        {"function_call": {"arguments": '{"at": 1}'}},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_thoughts_may_be_kept_back(reply):
    """They are counted, and no chunk is made of them."""
    body = whole(reply(hides_reasoning=True), CALLS)
    stream = reply(stream=True, hides_reasoning=True)

    assert "reasoning" not in body["choices"][0]["message"]
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    assert stream.add(CALLS[0]) == []


def test_what_is_asked_for_is_told(reply):
    """Timings in every chunk, and the tier; neither is there unless it was asked for."""
    body = whole(reply(has_timings=True, service_tier="default"), CALLS)
    plain = whole(reply(), CALLS)
    stream = reply(stream=True, has_timings=True)
    chunks = as_json([chunk for delta in CALLS for chunk in stream.add(delta)])

    assert (body["timings"]["predicted_n"], body["service_tier"]) == (9, "default")
    assert not {"timings", "service_tier"} & set(plain)
    assert all(chunk["timings"]["prompt_ms"] >= 0 for chunk in chunks)


@pytest.mark.parametrize(
    ("tools", "content"), [(None, ""), (ToolChoice(), ""), (ToolChoice("required"), None)]
)
def test_a_stream_that_must_call_opens_without_content(reply, tools, content):
    """So that what SDKs put together is null too."""
    (opening,) = as_json(reply(stream=True, tools=tools).begin())

    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": content}
