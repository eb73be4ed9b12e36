"""Items of the Responses API to messages of a chat."""

import secrets
from typing import Any

import msgspec

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.responses import InputItem, InputPart

_TEXTS = {"input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text"}
_CALLS = {"function_call", "custom_tool_call"}
_OUTPUTS = {"function_call_output", "custom_tool_call_output"}
# the traces of tools that ran elsewhere, and of clients' bookkeeping: they say nothing to a model
_SKIPPED = {
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
}
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "item_reference": "ref"}

Message = dict[str, Any]


def read_items(given: str | list[InputItem] | None) -> list[InputItem]:
    """The input as items that each have a type and an id. A text is what a user says."""
    if isinstance(given, str):
        given = [InputItem(role="user", content=given)]
    return [_complete(item) for item in given or []]


def read_messages_of(items: list[InputItem], past: list[InputItem]) -> list[Message]:
    """Messages as `openai.chat.ChatRequest` takes them. past: the items that come before.

    What a model thought, said and called in a row is one message of its. Raises `InvalidRequest`.
    """
    messages: list[Message] = []
    for n, item in enumerate([*past, *items], start=-len(past)):
        message = _read_item(item, f"input[{n}]")
        if message is None:
            continue
        if messages and _continues(messages[-1], message):
            _join(messages[-1], message)
        else:
            messages.append(message)
    return messages


def _complete(item: InputItem) -> InputItem:
    is_reference = item.role is None and item.content is None and item.id is not None
    kind = item.type or ("item_reference" if is_reference else "message")
    changes: dict[str, Any] = {"type": kind}
    if item.id is None:
        changes["id"] = f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(16)}"
    if kind == "message" and isinstance(item.content, str):
        text = "output_text" if item.role == "assistant" else "input_text"
        changes["content"] = [InputPart(text, item.content)]
    return msgspec.structs.replace(item, **changes)


def _read_item(item: InputItem, path: str) -> Message | None:
    if item.type == "message":
        if item.role is None:
            raise InvalidRequest(f"{path}.role: missing", f"{path}.role")
        return {"role": item.role, "content": _text(item.content, f"{path}.content")}
    if item.type == "reasoning":
        thought = _text(item.content or item.summary, f"{path}.content")
        return {"role": "assistant", "reasoning_content": thought} if thought else None
    if item.type in _CALLS:
        return {"role": "assistant", "tool_calls": [_read_call(item, path)]}
    if item.type in _OUTPUTS:
        said = _text(item.output, f"{path}.output")
        return {"role": "tool", "tool_call_id": _needed(item, "call_id", path), "content": said}
    if item.type in _SKIPPED:
        return None
    raise Unsupported(f"{path}.type: {item.type!r} items are not supported.", f"{path}.type")


def _read_call(item: InputItem, path: str) -> Message:
    arguments = item.arguments if item.type == "function_call" else item.input
    function = {"name": _needed(item, "name", path), "arguments": arguments or ""}
    return {"id": _needed(item, "call_id", path), "type": "function", "function": function}


def _needed(item: InputItem, name: str, path: str) -> str:
    value = getattr(item, name)
    if not value:
        raise InvalidRequest(f"{path}.{name}: missing", f"{path}.{name}")
    return str(value)


def _text(content: str | list[InputPart] | None, path: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for n, part in enumerate(content):
        if part.type not in _TEXTS:
            place = f"{path}[{n}].type"
            raise Unsupported(f"{place}: this model reads text, not {part.type!r}.", place)
    return "\n".join(part.text or part.refusal or "" for part in content)


def _continues(last: Message, message: Message) -> bool:
    """Whether both are of one turn of the model: thoughts, then words, then calls."""
    if last["role"] != "assistant" or message["role"] != "assistant":
        return False
    if "tool_calls" in message:
        return True
    has_only_thought = "tool_calls" not in last and "content" not in last
    return has_only_thought and "content" in message


def _join(last: Message, message: Message) -> None:
    for key, value in message.items():
        if key == "tool_calls":
            last.setdefault(key, []).extend(value)
        else:
            last[key] = value
