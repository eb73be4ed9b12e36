import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from gateway.cli.chat_input import CommandCompleter, is_open, unquoted
from gateway.cli.conversation import Conversation
from gateway.cli.server import Server


@pytest.mark.parametrize(
    ("text", "open_", "said"),
    [
        ("hello", False, "hello"),
        ('"""one', True, "one"),
        ('"""one\ntwo"""', False, "one\ntwo"),
        ('say """ now', False, 'say """ now'),
    ],
)
def test_three_quotes_hold_several_lines(text, open_, said):
    """Until they are closed, Enter begins a line; within a message they are text."""
    assert is_open(text) is open_
    assert unquoted(text) == said


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/mo", ["/model"]),
        ("/model BASE", ["base-model"]),
        ("/set top", ["top_p", "top_k"]),
        ("hello", []),
        ("/show x", []),
    ],
)
def test_commands_are_completed(loopback, typed, words):
    """With what may follow them; words of a message are not."""
    with Server(loopback.url) as server:
        completer = CommandCompleter(Conversation(server, "org/chat-model"))
        found = completer.get_completions(Document(typed), CompleteEvent())

        assert [completion.text for completion in found] == words
