import pytest

from gateway.errors import Unsupported
from gateway.openai.chat import ContentPart, FunctionCall, Message, ReasoningDetail, ToolCall
from gateway.translate.messages import merge_systems, read_messages


def test_roles_and_text():
    """Templates know `system`; parts become lines of text, no content is empty text."""
    messages = [
        Message("developer", "be brief"),
        Message("user", [ContentPart("text", "a"), ContentPart("text", "b")]),
        Message("assistant", None),
    ]

    assert read_messages(messages) == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": ""},
    ]


def test_tool_calls_and_their_results():
    """Arguments become objects, since templates print them as JSON themselves."""
    call = ToolCall(FunctionCall("look", '{"at": 1}'), "call_1")
    bad = ToolCall(FunctionCall("look", "not json"), "call_2")
    messages = [
        Message("assistant", tool_calls=[call, bad], reasoning="hm"),
        Message("tool", "found", tool_call_id="call_1", name="look"),
    ]

    assistant, tool = read_messages(messages)

    assert assistant["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": {"at": 1}}},
        {"id": "call_2", "type": "function", "function": {"name": "look", "arguments": "not json"}},
    ]
    assert assistant["reasoning_content"] == "hm"
    assert tool == {"role": "tool", "content": "found", "tool_call_id": "call_1", "name": "look"}


def test_a_result_is_called_like_its_tool():
    """Templates print the name, and clients send the id alone; the oldest form has no ids at all."""
    old = FunctionCall("look", "{}")
    messages = [
        Message("assistant", tool_calls=[ToolCall(FunctionCall("find"), "call_1")]),
        Message("tool", "found", tool_call_id="call_1"),
        Message("tool", "lost", tool_call_id="call_9"),
        Message("assistant", function_call=old),
        Message("function", "seen", name="look"),
    ]

    _, found, lost, assistant, seen = read_messages(messages)

    assert found["name"] == "find"
    assert "name" not in lost
    assert assistant["tool_calls"][0]["function"] == {"name": "look", "arguments": {}}
    assert (seen["role"], seen["name"]) == ("tool", "look")


def test_a_functions_answer_belongs_to_its_call():
    """The old form has no ids, and templates want them."""
    call = FunctionCall("look", "{}")
    messages = [
        Message("assistant", function_call=call),
        Message("function", "a", name="look"),
        Message("assistant", function_call=call),
        Message("function", "b", name="look"),
    ]

    first, answer, second, other = read_messages(messages)

    assert first["tool_calls"][0]["id"] == answer["tool_call_id"]
    assert second["tool_calls"][0]["id"] == other["tool_call_id"] != answer["tool_call_id"]


def test_what_was_said_elsewhere_is_read():
    """A refusal is what was said; thoughts come as text, or in pieces."""
    details = [
        ReasoningDetail("reasoning.text", "a"),
        ReasoningDetail("reasoning.summary", None, "b"),
    ]
    messages = [
        Message("assistant", refusal="No."),
        Message("assistant", [ContentPart("refusal", refusal="Never.")]),
        Message("assistant", "x", reasoning_details=details),
    ]

    refusal, part, thought = read_messages(messages)

    assert (refusal["content"], part["content"]) == ("No.", "Never.")
    assert thought["reasoning_content"] == "ab"


@pytest.mark.parametrize("kind", ["image_url", "input_image", "input_audio", "file"])
def test_what_is_no_text_is_refused_by_its_place(kind):
    """An image is not dropped in silence, and the client hears what the model can read."""
    messages = [Message("user", "x"), Message("user", [ContentPart(kind)])]

    with pytest.raises(Unsupported, match=f"text only, and no '{kind}'") as caught:
        read_messages(messages)
    assert caught.value.param == "messages[1].content[0].type"


def test_a_spoken_answer_is_refused_too():
    """Its words are not in the request."""
    with pytest.raises(Unsupported) as caught:
        read_messages([Message("assistant", audio={"id": "a"})])
    assert caught.value.param == "messages[0].audio"


@pytest.mark.parametrize("roles", [["user"], ["system", "user"], ["system", "user", "assistant"]])
def test_messages_in_order_are_not_merged(roles):
    """There is nothing to mend."""
    assert merge_systems([{"role": role, "content": role} for role in roles]) is None


def test_systems_are_merged_in_front():
    """In their order, with the others in theirs."""
    roles = ["user", "system", "assistant", "system"]
    messages = [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]

    merged = merge_systems(messages)

    assert merged == [
        {"role": "system", "content": "system 1\n\nsystem 3"},
        messages[0],
        messages[2],
    ]
