"""`roundhouse run MODEL`: talk with a model in the terminal."""

import argparse
import sys
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.names import add_model
from gateway.cli.url import add_url

if TYPE_CHECKING:
    from gateway.cli.conversation import Conversation


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "run",
        help="chat with a model of the running server",
        description="Chat with a model of the running server. What comes through a pipe is one "
        "message, answered once.",
    )
    add_model(parser)
    parser.add_argument("--system", metavar="TEXT", default="", help="what the model is told first")
    # Plain sampling, the server's default, makes small models ramble.
    parser.add_argument(
        "--temperature", type=float, default=0.5, help="0 is greedy (default: %(default)s)"
    )
    add_url(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from gateway.cli.chat_answer import answer
    from gateway.cli.conversation import Conversation
    from gateway.cli.server import Server

    with Server(args.url) as server:
        conversation = Conversation(server, args.model, args.temperature)
        conversation.system = args.system
        if sys.stdin.isatty():
            converse(conversation)
        elif text := sys.stdin.read().strip():
            answer(conversation, text)
        else:
            raise CommandError("nothing came through the pipe to be answered")


def converse(conversation: "Conversation") -> None:
    """Reads turns from the terminal until its user leaves."""
    from gateway.cli.chat_commands import introduction, take
    from gateway.cli.chat_input import lines

    print(f"{introduction(conversation)} /help tells more.")
    for line in lines(conversation):
        try:
            if line in {"/exit", "/bye", "/quit"}:
                return
            take(conversation, line)
        except CommandError as error:
            print(f"roundhouse: {error}", file=sys.stderr)
