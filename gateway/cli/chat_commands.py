"""What can be told to the chat itself: lines that begin with a slash."""

import json
from collections.abc import Callable

from gateway.cli.chat_answer import answer
from gateway.cli.chat_files import load, save
from gateway.cli.conversation import Conversation
from gateway.cli.errors import CommandError

HELP = """\
/model         the models there are
/model NAME    speak with another; what was said stays
/system TEXT   what the model is told before it all; nothing is told without TEXT
/set NAME X    a field of each request, as /set temperature 0.2; without X the server's own
/show          the model, what it is told, and what is set
/retry         have the last message answered again
/clear         forget what was said
/save NAME     keep the conversation, /load NAME goes on with it
/exit          leave, as Ctrl-D does
\"\"\"            begins and ends a message of several lines; Alt-Enter begins a line too
Ctrl-C         stop the answer"""

SETTABLE = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "seed",
    "stop",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "enable_thinking",
)


def take(conversation: Conversation, line: str) -> None:
    """What the user said: a command, or something to be answered."""
    command, _, argument = line.partition(" ")
    if command in COMMANDS:
        COMMANDS[command](conversation, argument.strip())
    elif command.startswith("/") and "/" not in command[1:]:
        raise CommandError(f"there is no {command}; /help lists what there is")
    else:
        answer(conversation, line)


def introduction(conversation: Conversation) -> str:
    verb = "chats" if conversation.can_chat else "completes what you begin, it does not chat"
    return f"{conversation.model} {verb}."


def _model(conversation: Conversation, name: str) -> None:
    if name:
        conversation.switch(name)
        print(introduction(conversation))
    else:
        print("\n".join(str(model["id"]) for model in conversation.server.models()))


def _system(conversation: Conversation, text: str) -> None:
    conversation.system = text
    print("The model is told that first." if text else "The model is told nothing first.")


def _set(conversation: Conversation, argument: str) -> None:
    name, _, text = argument.partition(" ")
    if not name:
        print("\n".join(f"{n} {json.dumps(v)}" for n, v in conversation.options.items()))
    elif name not in SETTABLE:
        raise CommandError(f"{name!r} is none of {', '.join(SETTABLE)}")
    elif text.strip():
        conversation.options[name] = _value(text.strip())
    else:
        conversation.options.pop(name, None)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(conversation: Conversation, _: str) -> None:
    print(introduction(conversation))
    print(f"system  {conversation.system or 'nothing'}")
    for name, value in conversation.options.items():
        print(f"{name}  {json.dumps(value)}")
    print(f"{len(conversation.history) // 2} turns so far.")


def _retry(conversation: Conversation, _: str) -> None:
    answer(conversation, conversation.take_back())


def _clear(conversation: Conversation, _: str) -> None:
    conversation.history.clear()


def _save(conversation: Conversation, name: str) -> None:
    print(f"Kept in {save(conversation, name)}.")


def _load(conversation: Conversation, name: str) -> None:
    load(conversation, name)
    _show(conversation, "")


def _help(_: Conversation, __: str) -> None:
    print(HELP)


COMMANDS: dict[str, Callable[[Conversation, str], None]] = {
    "/model": _model,
    "/system": _system,
    "/set": _set,
    "/show": _show,
    "/retry": _retry,
    "/clear": _clear,
    "/save": _save,
    "/load": _load,
    "/help": _help,
}
