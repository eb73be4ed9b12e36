"""Messages, as templates read them, in OpenAI's shape again."""

from typing import Any

import msgspec

from engine.api import ChatPrompt


def write_messages(prompt: ChatPrompt) -> list[dict[str, Any]]:
    return [_write(message) for message in prompt.messages]


def _write(message: dict[str, Any]) -> dict[str, Any]:
    written = dict(message)
    if message["role"] == "tool":
        written.pop("name", None)  # for templates; OpenAI knows the call by its id
    if calls := message.get("tool_calls"):
        written["tool_calls"] = [_write_call(call) for call in calls]
        written["content"] = message["content"] or None
    return written


def _write_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        arguments = "{}" if arguments is None else msgspec.json.encode(arguments).decode()
    return {**call, "function": {"name": function["name"], "arguments": arguments}}
