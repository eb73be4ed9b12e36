import io
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cli.chat_answer import answer
from gateway.cli.chat_commands import take
from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError
from gateway.cli.server import Server

HANG_SECONDS = 100


@pytest.fixture
def conversation(loopback):
    with Server(loopback.url) as server:
        yield Conversation(server, "org/chat-model")


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_pipe_is_one_message(roundhouse, loopback, pipe):
    """What comes through a pipe is asked once, lines and all; only the answer is printed."""
    pipe("Name a city.\nJust one.\n")

    assert roundhouse("run", "org/chat-model", "--url", loopback.url) == "Paris.\n"
    assert loopback.asked[0]["messages"][0]["content"] == "Name a city.\nJust one."


def test_temperature_is_sent(roundhouse, loopback, pipe):
    """--temperature reaches the server; without it the answer is not plain sampling either."""
    for arguments in ([], ["--temperature", "0"]):
        pipe("Hello")
        roundhouse("run", "org/chat-model", "--url", loopback.url, *arguments)

    assert [body["temperature"] for body in loopback.asked] == [0.5, 0]


def test_empty_pipe_is_an_error(roundhouse, loopback, pipe):
    """Nothing to say is said, rather than asked."""
    pipe(" \n")

    with pytest.raises(SystemExit, match="nothing came"):
        roundhouse("run", "org/chat-model", "--url", loopback.url)
    assert loopback.asked == []


def test_model_command_switches(conversation, capsys):
    """/model NAME speaks with another and says what it can."""
    take(conversation, "/model base-model")

    assert conversation.model == "base-model"
    assert "completes" in capsys.readouterr().out


def test_model_command_alone_lists(conversation, capsys):
    """/model shows the names to choose from."""
    take(conversation, "/model")

    assert capsys.readouterr().out.splitlines() == ["org/chat-model", "base-model"]


def test_clear_command_forgets(conversation):
    """/clear begins anew with the same model."""
    answer(conversation, "Hello")
    take(conversation, "/clear")

    assert conversation.history == []


def test_unknown_command_is_not_sent_to_the_model(conversation, loopback):
    """A mistyped command is an error; a path that begins with a slash is a message."""
    with pytest.raises(CommandError, match="/modle"):
        take(conversation, "/modle x")
    assert loopback.asked == []

    take(conversation, "/etc/passwd is what?")

    assert len(loopback.asked) == 1


class Terminal:
    """`roundhouse run` on a terminal of its own.

    What it waits for comes in well under a second; on a crowded machine it may take long.
    """

    def __init__(self, state: Path, *arguments: str) -> None:
        self._unread = ""
        self._screen, theirs = pty.openpty()
        command = [sys.executable, "-m", "gateway", "run", *arguments]
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        # This terminal does not say where its cursor is, when asked.
        changes = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(state)}
        # What was started in the background ignores Ctrl-C, and so would what it starts.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            command, start_new_session=True, env=os.environ | changes, **streams
        )
        signal.signal(signal.SIGINT, before)
        os.close(theirs)

    def type(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def read_until(self, text: str) -> None:
        """Waits until the text is on the screen; what follows it is left for the next call."""
        while text not in self._unread:
            is_news, _, _ = select.select([self._screen], [], [], HANG_SECONDS)
            assert is_news, f"{text!r} did not come after {self._unread!r}"
            self._unread += os.read(self._screen, 4096).decode()
        self._unread = self._unread.partition(text)[2]

    def interrupt_until(self, text: str) -> None:
        """Ctrl-C, and again where nothing came of it: it may come just before Python waits."""
        self.process.send_signal(signal.SIGINT)
        while text not in self._unread:
            is_news, _, _ = select.select([self._screen], [], [], 2)
            if is_news:
                self._unread += os.read(self._screen, 4096).decode()
            else:
                self.process.send_signal(signal.SIGINT)
        self._unread = self._unread.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(loopback, tmp_path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, "org/chat-model", "--url", loopback.url)
    yield opened
    opened.close()


def test_terminal_converses(terminal):
    """On a terminal there is a prompt, an answer to each line, and a way out."""
    terminal.read_until(">>>")
    terminal.type("Capital of France?")
    terminal.read_until("Paris.")
    terminal.read_until(">>>")
    terminal.type("/exit")

    assert terminal.process.wait(HANG_SECONDS) == 0


def test_interrupt_stops_the_answer_only(terminal, loopback):
    """Ctrl-C while an answer comes ends it; the conversation goes on, knowing what was said."""
    loopback.is_held = True
    terminal.read_until(">>>")
    terminal.type("Capital of France?")
    terminal.read_until("Par")

    terminal.interrupt_until(">>>")
    loopback.is_held = False
    terminal.type("Go on")
    terminal.read_until("Paris.")

    assert loopback.asked[1]["messages"][1] == {"role": "assistant", "content": "Par"}


def test_refusal_does_not_end_the_conversation(terminal, loopback):
    """An error is one line, and the next turn works."""
    loopback.refuse("/v1/chat/completions", 503, "busy")
    terminal.read_until(">>>")
    terminal.type("Hello")
    terminal.read_until("roundhouse: busy")
    terminal.read_until(">>>")
    del loopback.routes["/v1/chat/completions"]
    terminal.type("Hello")
    terminal.read_until("Paris.")
