import pytest

from gateway.cli.chat_answer import answer
from gateway.cli.chat_commands import take
from gateway.cli.chat_files import history_file
from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError
from gateway.cli.server import Server


@pytest.fixture
def conversation(loopback, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Server(loopback.url) as server:
        yield Conversation(server, "org/chat-model")


def test_set_changes_what_requests_say(conversation, loopback, capsys):
    """Numbers are numbers; without a value the field is the server's own again."""
    take(conversation, "/set temperature 0.2")
    take(conversation, "/set stop END")
    take(conversation, "/set")

    assert conversation.options == {"temperature": 0.2, "stop": "END"}
    assert "temperature 0.2" in capsys.readouterr().out

    take(conversation, "/set stop")
    assert "stop" not in conversation.options
    with pytest.raises(CommandError, match="temperature"):
        take(conversation, "/set warmth 3")


def test_retry_asks_the_same_again(conversation, loopback):
    """As if the first answer had not been."""
    answer(conversation, "Hello")
    take(conversation, "/retry")

    assert loopback.asked[0]["messages"] == loopback.asked[1]["messages"]
    assert len(conversation.history) == 2


def test_a_conversation_is_kept_and_gone_on_with(conversation, loopback):
    """With its model, what that was told, and what was set; for its owner's eyes alone."""
    take(conversation, "/system Be brief.")
    take(conversation, "/set top_k 5")
    answer(conversation, "Hello")
    take(conversation, "/save one")
    with Server(loopback.url) as server:
        other = Conversation(server, "base-model")
        take(other, "/load one")

    assert (other.model, other.system, other.options) == (
        "org/chat-model",
        "Be brief.",
        {"top_k": 5},
    )
    assert other.history == conversation.history
    kept = history_file().parent / "chats" / "one.json"
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "../one", "/etc/passwd", "absent"])
def test_a_name_is_no_path(conversation, name):
    """And what was not kept is said with what was."""
    with pytest.raises(CommandError, match=r"name of letters|kept is"):
        take(conversation, f"/load {name}")


def test_what_was_typed_is_for_its_owner(conversation):
    """Prompts may hold secrets."""
    file = history_file()

    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


def test_thoughts_do_not_reach_a_pipe(conversation, loopback, capsys):
    """Neither they nor the figures are the answer."""
    loopback.thoughts, loopback.usage = ["Hm."], {"completion_tokens": 2}
    answer(conversation, "Hello")

    assert capsys.readouterr() == ("Paris.\n", "")
