"""Items and tools of the Responses API in a chat's words."""

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.openai.responses import InputItem
from gateway.translate.responses_input import read_items, read_messages_of
from gateway.translate.responses_tools import ignored_tools, read_choice, read_functions


def messages_of(*items: dict) -> list[dict]:
    return read_messages_of(read_items(msgspec.convert(list(items), list[InputItem])), [])


CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
THOUGHT = {
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm"}],
}
SAID = {"role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]}


def test_what_a_model_did_in_a_row_is_one_message():
    """Thoughts, words and calls stand together, as templates want them."""
    assistant, tool = messages_of(THOUGHT, SAID, CALL, CALL | {"call_id": "c2"}, OUTPUT)

    assert (assistant["reasoning_content"], assistant["content"]) == ("Hm", "Let me look.")
    assert [call["id"] for call in assistant["tool_calls"]] == ["c1", "c2"]
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "seen"}


def test_a_new_turn_of_the_model_is_a_new_message():
    """After calls, and where it says or thinks something again."""
    assert len(messages_of(CALL, SAID)) == 2
    assert len(messages_of(SAID, SAID)) == 2
    assert len(messages_of(SAID, THOUGHT)) == 2
    assert len(messages_of(CALL, OUTPUT, CALL)) == 3


def test_summaries_are_thoughts_too():
    """Codex sends back what it was shown; what is encrypted says nothing."""
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}

    assert messages_of(summary, SAID)[0]["reasoning_content"] == "Hm"
    assert messages_of({"type": "reasoning", "encrypted_content": "x"}) == []


def test_every_item_gets_a_type_and_an_id():
    """Ids that were given are kept; texts become parts."""
    (text,) = read_items("hi")
    (given,) = read_items([InputItem(id="msg_mine", role="assistant", content="a")])

    assert (text.type, text.role, text.content[0].type) == ("message", "user", "input_text")
    assert text.id.startswith("msg_")
    assert (given.id, given.content[0].type) == ("msg_mine", "output_text")
    assert read_items([InputItem(id="msg_1")])[0].type == "item_reference"


def test_parts_are_joined_and_others_refused():
    """A text model never answers as if it had seen an image."""
    parts = [{"type": "input_text", "text": t} for t in ("a", "b")]
    image = {"type": "input_image", "text": None}

    assert messages_of({"role": "user", "content": parts})[0]["content"] == "a\nb"
    with pytest.raises(InvalidRequest, match=r"input\[0\].content\[2\].type"):
        messages_of({"role": "user", "content": [*parts, image]})
    with pytest.raises(InvalidRequest, match=r"input\[0\].output\[0\].type"):
        messages_of(OUTPUT | {"output": [image]})


def test_errors_count_from_the_requests_own_items():
    """What came before has no place in the request."""
    past = read_items("hi")

    with pytest.raises(InvalidRequest, match=r"input\[0\].type"):
        read_messages_of(read_items([InputItem(type="teapot")]), past)


def test_traces_of_tools_that_ran_elsewhere_are_skipped():
    """They come back in conversations that began at another provider."""
    assert messages_of({"type": "web_search_call", "id": "ws_1", "status": "completed"}) == []


def test_functions_are_told_from_other_tools():
    """Their fields move in; nothing else of them does."""
    function = {"type": "function", "name": "a", "parameters": {}, "strict": True, "x": 1}
    tools = [function, {"type": "web_search"}, {"type": "mcp"}, {"type": "web_search"}]

    assert read_functions(tools) == [
        {"type": "function", "function": {"name": "a", "parameters": {}, "strict": True}}
    ]
    assert ignored_tools(tools) == ["mcp", "web_search"]


def test_choices_move_in_as_well():
    """By mode, by name, or from a list."""
    named = {"type": "function", "name": "a"}
    as_chat = {"type": "function", "function": {"name": "a"}}

    assert [read_choice(c) for c in (None, "auto", "none", "required")] == [
        None,
        "auto",
        "none",
        "required",
    ]
    assert read_choice(named) == as_chat
    assert read_choice({"type": "allowed_tools", "mode": "required", "tools": [named]}) == {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [as_chat]},
    }


@pytest.mark.parametrize(
    "choice",
    [
        "always",
        {"type": "web_search"},
        {"type": "allowed_tools", "tools": 3},
        {"type": "allowed_tools", "tools": ["a"]},
        {"type": "allowed_tools", "tools": [{"type": "mcp"}]},
    ],
)
def test_a_choice_that_cannot_be_met_is_refused(choice):
    """Only functions are called here."""
    with pytest.raises(InvalidRequest, match="tool_choice"):
        read_choice(choice)
