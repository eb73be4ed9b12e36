"""OpenAI's messages in the shape that chat templates read."""

from typing import Any

import msgspec

from gateway.errors import Unsupported
from gateway.openai.chat import ContentPart, Message, ToolCall

_ROLES = {"developer": "system", "function": "tool"}


def read_messages(messages: list[Message]) -> list[dict[str, Any]]:
    """Content as plain text, `developer` as `system`, arguments of tool calls as objects.

    A tool's answer gets the tool's name, which templates want and few clients send; and a function's
    the id of its call, which had none when there was one at a time.
    """
    read = [_read_message(message, f"messages[{n}]") for n, message in enumerate(messages)]
    _number_functions(messages, read)
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


def _number_functions(messages: list[Message], read: list[dict[str, Any]]) -> None:
    call_id = None
    for number, (message, shown) in enumerate(zip(messages, read, strict=True)):
        if message.function_call is not None:
            call_id = f"call_{number}"
            shown["tool_calls"][-1]["id"] = call_id
        elif message.role == "function" and call_id is not None:
            shown.setdefault("tool_call_id", call_id)


def _read_message(message: Message, path: str) -> dict[str, Any]:
    if message.audio is not None:
        raise Unsupported(f"{path}.audio: this model reads text only.", f"{path}.audio")
    role = _ROLES.get(message.role, message.role)
    content = text_of(message.content, path) or message.refusal or ""
    read: dict[str, Any] = {"role": role, "content": content}
    if message.name is not None:
        read["name"] = message.name
    if message.tool_call_id is not None:
        read["tool_call_id"] = message.tool_call_id
    calls = message.tool_calls or []
    if message.function_call is not None:
        calls = [*calls, ToolCall(message.function_call)]
    if calls:
        read["tool_calls"] = [_read_tool_call(call) for call in calls]
    reasoning = message.reasoning_content or message.reasoning or _detailed(message)
    if reasoning:
        read["reasoning_content"] = reasoning
    return read


def _detailed(message: Message) -> str:
    return "".join(part.text or part.summary or "" for part in message.reasoning_details or ())


def text_of(content: str | list[ContentPart] | None, path: str) -> str:
    """Parts as lines. Raises `Unsupported` for one that is no text; path: where it is, for errors."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(_read_part(part, f"{path}.content[{n}]") for n, part in enumerate(content))


def _read_part(part: ContentPart, path: str) -> str:
    if part.type not in {"text", "input_text", "output_text", "refusal"}:
        message = f"{path}: this model reads text only, and no {part.type[:64]!r}."
        raise Unsupported(message, f"{path}.type")
    return part.text or part.refusal or ""


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
