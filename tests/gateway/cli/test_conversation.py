import pytest

from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError
from gateway.cli.server import Server


@pytest.fixture
def conversation(loopback):
    with Server(loopback.url) as server:
        yield Conversation(server, "org/chat-model")


def ignore(_: str) -> None:
    pass


def test_history_is_sent_with_each_turn(conversation, loopback):
    """A chat model is told all that was said before."""
    list(conversation.say("Capital of France?", ignore))
    list(conversation.say("And Italy?", ignore))

    assert loopback.asked[1]["messages"] == [
        {"role": "user", "content": "Capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": "And Italy?"},
    ]


def test_history_outlives_a_switch(conversation, loopback):
    """Another model goes on with the same conversation."""
    list(conversation.say("Capital of France?", ignore))
    conversation.switch("base-model")
    conversation.switch("org/chat-model")
    list(conversation.say("And Italy?", ignore))

    assert len(loopback.asked[-1]["messages"]) == 3


def test_completing_model_gets_a_prompt(conversation, loopback):
    """A model that does not chat completes the text, bounded, and knows no history."""
    conversation.switch("base-model")

    assert "".join(conversation.say("Once upon", ignore)) == "Paris."
    assert loopback.asked == [
        {"model": "base-model", "prompt": "Once upon", "max_tokens": 256, "stream": True}
    ]
    assert conversation.history == []


def test_failed_turn_leaves_no_trace(conversation, loopback):
    """A turn that was refused can be said again."""
    loopback.refuse("/v1/chat/completions", 503, "busy")

    with pytest.raises(CommandError, match="busy"):
        list(conversation.say("Hello", ignore))
    assert conversation.history == []


def test_stopped_answer_is_remembered_as_far_as_it_came(conversation):
    """Stopping early keeps the part that was seen."""
    pieces = conversation.say("Hello", ignore)
    next(pieces)
    pieces.close()

    assert conversation.history[1] == {"role": "assistant", "content": "Par"}


def test_switch_to_an_unknown_model_changes_nothing(conversation, loopback):
    """An unknown name is refused, and the old model stays."""
    loopback.refuse("/v1/models/absent", 404, "The model 'absent' does not exist")

    with pytest.raises(CommandError, match="does not exist"):
        conversation.switch("absent")
    assert conversation.model == "org/chat-model"
