"""Where the chat keeps what was typed, and conversations: for its user's eyes alone."""

import json
import os
import re
from pathlib import Path

from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError

_NAME = re.compile(r"[\w][\w. -]{0,99}")


def history_file() -> Path:
    """A file that only its owner can read, made if there is none."""
    path = _folder() / "history"
    os.close(os.open(path, os.O_CREAT | os.O_APPEND, 0o600))
    return path


def save(conversation: Conversation, name: str) -> Path:
    """Keeps a conversation under a name; one that has it already gives way. Raises CommandError."""
    kept = {
        "model": conversation.model,
        "system": conversation.system,
        "options": conversation.options,
        "messages": conversation.history,
    }
    path = _file(name)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            json.dump(kept, file, indent=2)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    return path


def load(conversation: Conversation, name: str) -> None:
    """Goes on with a kept conversation; the model is switched to its own. Raises CommandError."""
    path = _file(name)
    try:
        kept = json.loads(path.read_text())
        model, system = str(kept["model"]), str(kept["system"])
        options, messages = dict(kept["options"]), list(kept["messages"])
    except OSError as error:
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.json"))) or "nothing"
        raise CommandError(f"{name}: {error.strerror}; kept is {known}") from None
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"{path} is no conversation") from None
    conversation.switch(model)
    conversation.system, conversation.options = system, options
    conversation.history = messages


def _file(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise CommandError("give it a name of letters, digits, spaces, dots and dashes")
    folder = _folder() / "chats"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.json"


def _folder() -> Path:
    """Below $XDG_STATE_HOME, or ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state) / "roundhouse"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}") from None
    return folder
