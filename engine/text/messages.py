"""Other arrangements of a conversation, for templates that refuse it as it is."""

from collections.abc import Iterator
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


def _joined(contents: list[Any]) -> Any:
    """Contents as one: text if all are, else a list of parts."""
    contents = [content for content in contents if content]
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents)
    return [part for content in contents for part in _parts(content)]


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]
