"""Other arrangements of a conversation, for templates that refuse it as it is."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

Message = dict[str, Any]
_SYSTEM_ROLES = frozenset({"system", "developer"})


def arrangements(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages as they are; then, if there are system messages, those moved.

    First into one at the start (many templates allow no other place), then into the first user
    message (families that know no system role).
    """
    yield messages
    system = [message for message in messages if message.get("role") in _SYSTEM_ROLES]
    if not system:
        return
    others = [message for message in messages if message.get("role") not in _SYSTEM_ROLES]
    words = _joined([message.get("content") for message in system])
    leading = [{"role": "system", "content": words}, *others]
    if leading != messages:
        yield leading
    for index, message in enumerate(others):
        if message.get("role") == "user":
            merged = message | {"content": _joined([words, message.get("content")])}
            yield [*others[:index], merged, *others[index + 1 :]]
            return


def with_short_ids(messages: list[Message], length: int) -> list[Message]:
    """The messages with ids of calls that are letters and digits, exactly so many.

    Mistral's templates refuse others, which a conversation has that another model began.
    """
    return [_with_short_ids(message, length) for message in messages]


def with_text_arguments(messages: list[Message]) -> list[Message]:
    """The messages with arguments of calls as JSON text, for templates that only join texts."""
    return [
        message | {"tool_calls": [_with_text_arguments(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _with_text_arguments(call: Message) -> Message:
    function = call["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return call | {"function": function | {"arguments": arguments}}


def _with_short_ids(message: Message, length: int) -> Message:
    changed: Message = {}
    if message.get("tool_calls"):
        calls = message["tool_calls"]
        changed["tool_calls"] = [call | {"id": _short_id(call.get("id"), length)} for call in calls]
    if message.get("tool_call_id"):
        changed["tool_call_id"] = _short_id(message["tool_call_id"], length)
    return message | changed


def _short_id(found: str | None, length: int) -> str:
    if found is not None and len(found) == length and found.isalnum():
        return found
    return sha256((found or "").encode()).hexdigest()[:length]


def _joined(contents: list[Any]) -> Any:
    """Contents as one: text if all are, else a list of parts."""
    contents = [content for content in contents if content]
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents)
    return [part for content in contents for part in _parts(content)]


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]
