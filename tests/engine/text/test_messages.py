from engine.text.messages import arrangements

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
