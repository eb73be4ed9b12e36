"""Streams of others as deltas of ours."""

from typing import Any

import msgspec
import pytest

from engine.api import Delta, ToolCallDelta, Usage
from gateway.errors import UpstreamFailed, UpstreamRefused
from gateway.upstreams.failures import UpstreamFailure
from gateway.upstreams.replies import ReplyReader

DONE = "[DONE]"


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def read(*events: dict[str, Any] | str, num_choices: int = 1) -> list[Delta]:
    reader = ReplyReader("up", num_choices)
    deltas: list[Delta] = []
    for event in events:
        data = event.encode() if isinstance(event, str) else msgspec.json.encode(event)
        deltas += reader.read(data)
    return [*deltas, *reader.end()]


def test_text_and_thoughts():
    """Both names of thoughts are read, roles are not told, and the usage comes with the end."""
    usage = {
        "prompt_tokens": 4,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    deltas = read(
        chunk(role="assistant", content=""),
        chunk(reasoning="hm"),
        chunk(reasoning_content="mm"),
        chunk(content="yes"),
        chunk("length"),
        {"choices": [], "usage": usage},
        DONE,
    )

    assert deltas == [
        Delta(0, reasoning="hm"),
        Delta(0, reasoning="mm"),
        Delta(0, "yes"),
        Delta(0, finish_reason="length", usage=Usage(4, 3, 2, 1)),
    ]


def test_calls_are_numbered_from_zero():
    """A call begins with id and name, whenever they come and however often; ids are made where missing."""
    pieces = [
        {"index": 1, "id": "c1", "function": {"arguments": '{"a"'}},
        {"index": 1, "id": "c1", "function": {"name": "f", "arguments": ":1}"}},
        {"index": 2, "function": {"name": "g", "arguments": {"b": 2}}},
    ]
    *told, end = read(*(chunk(tool_calls=[piece]) for piece in pieces), chunk("stop"), DONE)
    first, second = (delta.tool_calls[0] for delta in told)

    assert first == ToolCallDelta(0, "c1", "f", '{"a":1}')
    assert (second.index, second.name, second.arguments) == (1, "g", '{"b":2}')
    assert second.id.startswith("call_")
    assert end.finish_reason == "tool_calls"


def test_a_server_without_usage():
    """Each piece counts as a token, which it is with most servers."""
    *_, end = read(chunk(content="a"), chunk(content="b"), chunk("stop"), DONE)

    assert end.usage == Usage(0, 2)


def test_several_choices_share_a_usage():
    """It is told once, so that their sum is right."""
    usage = {"prompt_tokens": 4, "completion_tokens": 6}
    *_, first, second = read(
        chunk("stop", 1, content="b"),
        chunk("content_filter", 0, content="a"),
        {"choices": [], "usage": usage},
        DONE,
        num_choices=2,
    )

    assert (first.index, first.finish_reason, first.usage) == (0, "stop", Usage(4, 6))
    assert (second.index, second.finish_reason, second.usage) == (1, "stop", Usage(0, 0))


def test_logprobs_of_a_chat():
    """A token is found among its alternatives, by a number that is not a vocabulary's."""
    said = {
        "token": "a",
        "logprob": -0.1,
        "bytes": None,
        "top_logprobs": [{"token": "b", "logprob": -3}, {"token": "a", "logprob": -0.1}],
    }
    choice = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [said]}}
    delta, _ = read({"choices": [choice]}, chunk("stop"), DONE)
    (token,) = delta.logprobs

    assert (token.raw, token.logprob) == (b"a", -0.1)
    assert token.token_id == token.top[1].token_id != token.top[0].token_id
    assert max(top.token_id for top in token.top) < 0


def test_logprobs_of_a_completion():
    """The first of a prompt has none; half a character is its bytes."""
    said = {
        "tokens": ["a", "bytes:\\xe2\\x82"],
        "token_logprobs": [None, -1.0],
        "top_logprobs": [None, {"b": -2.0}],
        "text_offset": [0, 1],
    }
    choice = {"index": 0, "text": "a", "logprobs": said, "finish_reason": "stop"}
    delta, _ = read({"choices": [choice]}, DONE)

    assert [token.logprob for token in delta.logprobs] == [None, -1.0]
    assert delta.logprobs[1].raw == b"\xe2\x82"
    assert delta.logprobs[1].top[0].text == "b"


@pytest.mark.parametrize(
    ("events", "kind", "verdict"),
    [
        ([chunk(content="a")], UpstreamFailed, "again"),
        ([chunk(content="a"), DONE], UpstreamFailed, "again"),
        (["<html>"], UpstreamFailed, "elsewhere"),
        ([chunk(index=3, content="a")], UpstreamFailed, "elsewhere"),
        (
            [{"error": {"message": "out of memory", "type": "server_error"}}],
            UpstreamFailed,
            "elsewhere",
        ),
        (
            [{"error": {"message": "too long", "type": "invalid_request_error"}}],
            UpstreamRefused,
            "final",
        ),
    ],
)
def test_what_is_no_reply(events, kind, verdict: str):
    """A stream that is cut, or is none, or ends in an error is a failure of its own kind."""
    with pytest.raises(UpstreamFailure) as failure:
        read(*events)

    assert isinstance(failure.value.error, kind)
    assert failure.value.verdict == verdict


def test_an_error_says_its_reason():
    """As the upstream words it, since its status is lost."""
    with pytest.raises(UpstreamFailure) as failure:
        read({"error": {"message": "out of memory.", "type": "server_error"}})

    assert failure.value.error.message.endswith("with an error: out of memory.")
