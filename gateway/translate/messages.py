"""OpenAI's messages in the shape that chat templates read."""

from typing import Any

import msgspec

from gateway.errors import Unsupported
from gateway.openai.chat import ContentPart, Message, ToolCall

_ROLES = {"developer": "system", "function": "tool"}


def read_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Content as plain text, `developer` as `system`, arguments of tool calls as objects.

    A tool's answer gets the tool's name, which templates want and few clients send.
    """
    read = [_read_message(message, f"messages[{n}]") for n, message in enumerate(messages)]
    names: dict[str, str] = {}
    for message in read:
        for call in message.get("tool_calls", []):
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool" and (call_id := message.get("tool_call_id")) in names:
            message.setdefault("name", names[call_id])
    return read


def merge_systems(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """All system messages as one in front; None if they are so already.

    Many templates refuse a second or late one, and many clients send them.
    """
    places = [n for n, message in enumerate(messages) if message["role"] == "system"]
    if places in ([], [0]):
        return None
    text = "\n\n".join(messages[n]["content"] for n in places)
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": text}, *rest]


def _read_message(message: Message, path: str) -> dict[str, Any]:
    role = _ROLES.get(message.role, message.role)
    read: dict[str, Any] = {"role": role, "content": _read_content(message.content, path)}
    if message.name is not None:
        read["name"] = message.name
    if message.tool_call_id is not None:
        read["tool_call_id"] = message.tool_call_id
    calls = message.tool_calls or []
    if message.function_call is not None:
        calls = [*calls, ToolCall(message.function_call)]
    if calls:
        read["tool_calls"] = [_read_tool_call(call) for call in calls]
    if reasoning := message.reasoning_content or message.reasoning:
        read["reasoning_content"] = reasoning
    return read


def _read_content(content: str | list[ContentPart] | None, path: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(_read_part(part, f"{path}.content[{n}]") for n, part in enumerate(content))


def _read_part(part: ContentPart, path: str) -> str:
    if part.type not in {"text", "input_text", "refusal"}:
        raise Unsupported(f"{path}: this model reads text, not {part.type!r}.", f"{path}.type")
    return part.text or ""


def _read_tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": _read_arguments(call.function.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _read_arguments(arguments: str | None) -> object:
    """Templates print arguments as JSON themselves, so a string would be quoted twice."""
    try:
        read = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return arguments
    return read if isinstance(read, dict) else arguments
