"""`roundhouse run MODEL`: talk with a model in the terminal."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.url import add_url

if TYPE_CHECKING:
    from gateway.cli.conversation import Conversation

HELP = """\
/model         the models there are
/model NAME    speak with another; what was said stays
/clear         forget what was said
/exit          leave, as Ctrl-D does
Ctrl-C         stop the answer"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "run",
        help="chat with a model of the running server",
        description="Chat with a model of the running server. What comes through a pipe is one "
        "message, answered once.",
    )
    parser.add_argument("model", help="its name, as 'roundhouse list' shows it")
    # Plain sampling, the server's default, makes small models ramble.
    parser.add_argument(
        "--temperature", type=float, default=0.5, help="0 is greedy (default: %(default)s)"
    )
    add_url(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from gateway.cli.conversation import Conversation
    from gateway.cli.server import Server

    with Server(args.url) as server:
        conversation = Conversation(server, args.model, args.temperature)
        if sys.stdin.isatty():
            converse(conversation)
        elif text := sys.stdin.read().strip():
            answer(conversation, text)
        else:
            raise CommandError("nothing came through the pipe to be answered")


def converse(conversation: "Conversation") -> None:
    """Reads turns from the terminal until its user leaves."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 (importing it gives input() its editing and history)

    print(f"{_introduction(conversation)} /help tells more.")
    for line in _lines():
        try:
            if line == "/exit":
                return
            take(conversation, line)
        except CommandError as error:
            print(f"roundhouse: {error}", file=sys.stderr)


def take(conversation: "Conversation", line: str) -> None:
    """One line of the user: a command, or something to be answered."""
    command, _, argument = line.partition(" ")
    if command == "/model":
        switch(conversation, argument.strip())
    elif command == "/clear":
        conversation.history.clear()
    elif command == "/help":
        print(HELP)
    elif command.startswith("/") and "/" not in command[1:]:
        raise CommandError(f"there is no {command}; /help lists what there is")
    else:
        answer(conversation, line)


def switch(conversation: "Conversation", name: str) -> None:
    if name:
        conversation.switch(name)
        print(_introduction(conversation))
    else:
        print("\n".join(str(model["id"]) for model in conversation.server.models()))


def answer(conversation: "Conversation", text: str) -> None:
    """Prints an answer while it comes; Ctrl-C stops it and is no error."""
    note = WaitingNote()
    pieces = conversation.say(text, note.show)
    try:
        for piece in pieces:
            note.clear()
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()
    finally:
        note.clear()
        print()


class WaitingNote:
    """One passing line about why nothing comes yet; only where somebody watches."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[2K\x1b[2m{text}\x1b[0m", end="", file=sys.stderr, flush=True)
            self._is_shown = True

    def clear(self) -> None:
        if self._is_shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


def _lines() -> Iterator[str]:
    while True:
        try:
            line = input(">>> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            continue
        if line:
            yield line


def _introduction(conversation: "Conversation") -> str:
    verb = "chats" if conversation.can_chat else "completes what you begin, it does not chat"
    return f"{conversation.model} {verb}."
