"""Anthropic's conversations as those of chat completions."""

from typing import Any

import msgspec

from gateway.anthropic.requests import Block, CountRequest, Message
from gateway.errors import InvalidRequest, Unsupported

BILLING_HEADER = "x-anthropic-billing-header"
"""How a system block of Claude Code's begins that no model is to read. It changes all the time, so it
would also keep every prompt out of the prefix cache."""


def read_messages(request: CountRequest) -> list[dict[str, Any]]:
    """Raises `InvalidRequest` naming the block that cannot be read."""
    messages = []
    if system := _read_system(request.system):
        messages.append({"role": "system", "content": system})
    for n, message in enumerate(request.messages):
        messages += _read_message(message, f"messages[{n}]")
    if request.messages[-1].role == "assistant":
        # templates close every turn, so the reply would not go on where it ends
        raise Unsupported("messages: the last must be the user's.", "messages")
    return messages


def _read_system(system: str | list[Block] | None) -> str:
    if isinstance(system, list):
        kept = [b for b in system if not (b.text or "").startswith(BILLING_HEADER)]
        return _read_text(kept, "system")
    return system or ""


def _read_message(message: Message, path: str) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    if message.role == "assistant":
        return [_read_assistant(message.content, path)]
    return _read_user(message.role, message.content, path)


def _read_user(role: str, blocks: list[Block], path: str) -> list[dict[str, Any]]:
    """Results of tools are messages of their own; texts beside each other stay together."""
    messages: list[dict[str, Any]] = []
    for n, block in enumerate(blocks):
        at = f"{path}.content[{n}]"
        if block.type == "tool_result":
            messages.append(_read_result(block, at))
            continue
        part = {"type": "text", "text": _text_of(block, at)}
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"].append(part)
        else:
            messages.append({"role": role, "content": [part]})
    return messages


def _read_result(block: Block, path: str) -> dict[str, Any]:
    if block.tool_use_id is None:
        raise InvalidRequest(f"{path}.tool_use_id: of which call?", f"{path}.tool_use_id")
    content = block.content or ""
    text = content if isinstance(content, str) else _read_text(content, f"{path}.content")
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}


def _read_assistant(blocks: list[Block], path: str) -> dict[str, Any]:
    texts, thoughts, calls = [], [], []
    for n, block in enumerate(blocks):
        match block.type:
            case "thinking":
                thoughts.append(block.thinking or "")
            case "redacted_thinking":
                pass  # only Anthropic can read it
            case "tool_use":
                calls.append(_read_call(block, f"{path}.content[{n}]"))
            case _:
                texts.append(_text_of(block, f"{path}.content[{n}]"))
    message: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts)}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    return message


def _read_call(block: Block, path: str) -> dict[str, Any]:
    if block.name is None:
        raise InvalidRequest(f"{path}.name: of which tool?", f"{path}.name")
    arguments = msgspec.json.encode(block.input or {}).decode()
    return {
        "id": block.id,
        "type": "function",
        "function": {"name": block.name, "arguments": arguments},
    }


def _read_text(blocks: list[Block], path: str) -> str:
    return "\n".join(_text_of(block, f"{path}[{n}]") for n, block in enumerate(blocks))


def _text_of(block: Block, path: str) -> str:
    if block.type != "text":
        raise Unsupported(f"{path}: this model reads text, not {block.type!r}.", f"{path}.type")
    return block.text or ""
