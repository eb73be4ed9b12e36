from engine.text.messages import arrangements, with_short_ids, with_text_arguments

SYSTEM = {"role": "system", "content": "be brief"}
LATE = {"role": "developer", "content": "and kind"}
USER = {"role": "user", "content": "hi"}


def test_a_conversation_without_system_messages_has_one_arrangement():
    """There is nothing to move."""
    assert list(arrangements([USER])) == [[USER]]


def test_a_leading_system_message_moves_into_the_first_user_turn():
    """For families that know no system role."""
    assert list(arrangements([SYSTEM, USER])) == [
        [SYSTEM, USER],
        [{"role": "user", "content": "be brief\n\nhi"}],
    ]


def test_scattered_system_messages_are_first_gathered():
    """One at the start, then none at all; the messages given are left as they are."""
    messages = [USER, SYSTEM, LATE]

    _, gathered, merged = arrangements(messages)

    assert gathered == [{"role": "system", "content": "be brief\n\nand kind"}, USER]
    assert merged == [{"role": "user", "content": "be brief\n\nand kind\n\nhi"}]
    assert messages == [USER, SYSTEM, LATE]


def test_contents_of_parts_stay_parts():
    """Text is put before the parts of a user message as one more of them."""
    parts = [{"type": "text", "text": "hi"}]

    *_, merged = arrangements([SYSTEM, {"role": "user", "content": parts}])

    assert merged[0]["content"] == [{"type": "text", "text": "be brief"}, *parts]


def test_ids_that_a_template_would_refuse_are_replaced():
    """A call and its result keep the same one; one that fits stays."""
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "call_123"}, {"id": "abcdefghi"}]},
        {"role": "tool", "tool_call_id": "call_123", "content": "a"},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "b"},
        {"role": "user", "content": "c"},
    ]

    assistant, first, second, user = with_short_ids(messages, 9)

    ids = [call["id"] for call in assistant["tool_calls"]]
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert (len(ids[0]), ids[0].isalnum(), ids[1]) == (9, True, "abcdefghi")
    assert user == messages[3]
    assert messages[0]["tool_calls"][0]["id"] == "call_123"


def test_arguments_as_text_for_templates_that_join_texts():
    """DeepSeek's do; a text stays as it is."""
    calls = [{"function": {"name": "f", "arguments": {"a": "é"}}}]
    calls += [{"function": {"name": "f", "arguments": "{"}}]
    messages = [{"role": "user"}, {"role": "assistant", "tool_calls": calls}]

    user, assistant = with_text_arguments(messages)

    read = [call["function"]["arguments"] for call in assistant["tool_calls"]]
    assert read == ['{"a": "é"}', "{"]
    assert (user, calls[0]["function"]["arguments"]) == ({"role": "user"}, {"a": "é"})
