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
    (body,) = loopback.asked
    assert (body["prompt"], body["max_tokens"]) == ("Once upon", 256)
    assert "messages" not in body
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


def test_system_and_options_are_sent_and_are_no_history(conversation, loopback):
    """They hold for each turn as they are then."""
    conversation.system = "Be brief."
    conversation.options["top_k"] = 5
    list(conversation.say("Hello", ignore))

    (body,) = loopback.asked
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["top_k"] == 5
    assert len(conversation.history) == 2


def test_thoughts_are_told_apart_and_forgotten(conversation, loopback):
    """Models are not told again what they thought."""
    loopback.thoughts = ["Hm, ", "France."]
    thoughts = []
    answer = "".join(conversation.say("Capital of France?", ignore, thoughts.append))

    assert answer == "Paris."
    assert thoughts == ["Hm, ", "France."]
    assert conversation.history[1]["content"] == "Paris."


def test_figures_are_the_servers_count(conversation, loopback):
    """A chunk may hold several tokens, so chunks are not counted."""
    loopback.usage = {"completion_tokens": 7}
    list(conversation.say("Hello", ignore))

    assert conversation.figures.num_tokens == 7
    assert 0 < conversation.figures.first_seconds <= conversation.figures.seconds


def test_a_turn_is_taken_back(conversation):
    """To be said again; without one there is nothing to take back."""
    list(conversation.say("Hello", ignore))

    assert conversation.take_back() == "Hello"
    assert conversation.history == []
    with pytest.raises(CommandError, match="nothing was said"):
        conversation.take_back()


def test_switch_to_an_unknown_model_changes_nothing(conversation, loopback):
    """An unknown name is refused, and the old model stays."""
    loopback.refuse("/v1/models/absent", 404, "The model 'absent' does not exist")

    with pytest.raises(CommandError, match="does not exist"):
        conversation.switch("absent")
    assert conversation.model == "org/chat-model"
