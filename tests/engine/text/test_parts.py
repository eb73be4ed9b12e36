"""From tokens to what is said, thought and called."""

import pytest

from engine.api import Generation, Run, ToolChoice
from engine.text.chat_format import ChatFormat, read_tools
from engine.text.prompts import PreparedPrompt
from engine.text.reasoning import ThinkTags
from engine.text.tools import formats
from engine.text.writer import Writer
from engine.wire import Logprob, Output

TOOLS = [{"type": "function", "function": {"name": "look"}}]
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
CHAT = ChatFormat(formats.HERMES, ThinkTags("<think>", "</think>"), tools=read_tools(TOOLS))


@pytest.fixture
def write(byte_level):
    """Writes a text token by token; returns the deltas."""

    def write(text: str, finish: str = "stop", chat: ChatFormat = CHAT, **asked: object):
        generation = Generation(100, **{"tools": ToolChoice(), "splits_reasoning": True} | asked)
        prompt = PreparedPrompt(byte_level, [byte_level.bos_id], chat=chat)
        writer = Writer(prompt, Run(0, 0, generation))
        ids = byte_level.encode(text, add_bos=False, allow_special=True)
        ids += [min(byte_level.stop_ids)] if finish == "stop" else []
        outputs = [
            Output(1, [i], [Logprob(-1.0, [])], [], finish if n == len(ids) - 1 else None)
            for n, i in enumerate(ids)
        ]
        deltas = []
        for output in outputs:
            delta, is_stopped = writer.write(output)
            deltas += [delta] if delta is not None else []
            if is_stopped:
                break
        return deltas

    return write


def calls_of(deltas):
    return [call for delta in deltas for call in delta.tool_calls]


def test_an_answer_comes_in_parts(write):
    """Thoughts, words and calls; who is called comes once, and arguments as they come."""
    deltas = write(f"<think>\nHm.\n</think>\n\nI look.\n{CALL}")

    first, *more = calls_of(deltas)
    assert "".join(delta.reasoning for delta in deltas) == "Hm."
    assert "".join(delta.text for delta in deltas) == "I look.\n"
    assert (first.index, first.name, first.id[:5]) == (0, "look", "call_")
    assert {(call.index, call.name, call.id) for call in more} == {(0, "", "")}
    assert "".join(call.arguments for call in [first, *more]) == '{"at": 1}'
    assert len(more) > 1


def test_calls_are_a_reason_to_end(write):
    """Only where the model ended by itself: a text that was cut off was cut off."""
    assert write(CALL)[-1].finish_reason == "tool_calls"
    assert write(CALL, finish="length")[-1].finish_reason == "length"
    assert write("No.")[-1].finish_reason == "stop"
    assert write(CALL, stop=("</tool",))[-1].finish_reason == "stop"


def test_logprobs_are_of_what_is_said(write, byte_level):
    """Thoughts are counted, calls are not shown, and every token's id comes once."""
    text = f"<think>Hm.</think>I look.{CALL}"

    deltas = write(text)

    shown = [entry.token_id for delta in deltas for entry in delta.logprobs]
    ids = [token_id for delta in deltas for token_id in delta.token_ids]
    assert b"".join(map(byte_level.token_bytes, shown)) == b"I look."
    assert ids == byte_level.encode(text, add_bos=False, allow_special=True)
    thought = byte_level.encode("Hm.", add_bos=False, allow_special=False)
    assert deltas[-1].usage.reasoning_tokens == len(thought)
    assert deltas[-1].usage.completion_tokens == len(ids) + 1


def test_calls_are_numbered_and_differ(write):
    """Two calls have two places and two ids; where none may be parallel only the first counts."""
    both = [call for call in calls_of(write(f"{CALL}\n{CALL}")) if call.name]
    one = calls_of(write(f"{CALL}\n{CALL}", tools=ToolChoice(is_parallel=False)))

    assert [call.index for call in both] == [0, 1]
    assert both[0].id != both[1].id
    assert {call.index for call in one} == {0}


def test_nothing_is_read_where_nobody_asked(write):
    """A completion, or a chat without tools whose thoughts are not to be split, is text."""
    text = f"<think>Hm.</think>{CALL}"

    assert "".join(d.text for d in write(text, tools=None, splits_reasoning=False)) == text
    assert "".join(d.text for d in write(text, tools=None)) == CALL


def test_control_tokens_are_seen_by_who_reads_them(write, byte_level):
    """A marker that is a control token is no text, but the parser has to know of it."""
    marker = byte_level.eos_token
    chat = ChatFormat(formats.ToolFormat("x", formats.NEMOTRON.syntax, (marker,)))

    shown = write(f"a{marker}b", finish="length", chat=chat)
    hidden = write(f"a{marker}b", finish="length", chat=CHAT)

    assert "".join(delta.text for delta in shown) == f"a{marker}b"
    assert "".join(delta.text for delta in hidden) == "ab"
