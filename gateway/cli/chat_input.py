"""What the user types: with a history, completion of commands, and messages of several lines."""

import sys
from collections.abc import Iterable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from gateway.cli.chat_commands import COMMANDS, SETTABLE
from gateway.cli.chat_files import history_file
from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError

QUOTES = '"""'
PROMPT = ">>> "


def lines(conversation: Conversation) -> Iterator[str]:
    """What was said, turn by turn; ends with Ctrl-D. Ctrl-C empties the line."""
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=_history(),
        completer=CommandCompleter(conversation),
        complete_while_typing=False,
        multiline=Condition(lambda: is_open(get_app().current_buffer.text)),
        prompt_continuation="... ",
        key_bindings=_bindings(),
        enable_open_in_editor=True,
    )
    while True:
        try:
            said = unquoted(session.prompt())
        except EOFError:
            return
        except KeyboardInterrupt:
            continue
        if said:
            yield said


def is_open(text: str) -> bool:
    """Whether the text begins with three quotes that have no end yet."""
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) < 2


def unquoted(text: str) -> str:
    return text.strip().removeprefix(QUOTES).removesuffix(QUOTES).strip()


class CommandCompleter(Completer):
    """Commands, the names of models after /model, and of fields after /set."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterable[Completion]:
        command, space, begun = document.text_before_cursor.partition(" ")
        if not space:
            return _matching(command, COMMANDS) if command.startswith("/") else ()
        if command == "/model":
            return _matching(begun, self._models())
        return _matching(begun, SETTABLE) if command == "/set" else ()

    def _models(self) -> list[str]:
        """Asked each time, since models come and go."""
        try:
            return [str(model["id"]) for model in self._conversation.server.models()]
        except CommandError:
            return []


def _matching(begun: str, words: Iterable[str]) -> Iterator[Completion]:
    folded = begun.casefold()
    return (Completion(w, -len(begun)) for w in words if w.casefold().startswith(folded))


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _history() -> History:
    """Kept across sessions, if there is a place for it."""
    try:
        return FileHistory(str(history_file()))
    except (CommandError, OSError) as error:
        print(f"roundhouse: what you type is not kept: {error}", file=sys.stderr)
        return InMemoryHistory()
