"""Which tools a chat offers, and which of them its answer must call."""

from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec

from engine.api import ToolChoice
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import AllowedTools, ChatRequest, NamedTool, Tool

T = TypeVar("T")

MAX_DEPTH: Final = 32
MAX_BYTES: Final = 512 * 1024
"""Of all schemas together: every one of them becomes part of the prompt, and may become a grammar."""


def read_tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """As templates read them. None if there are none to be used: an empty list is not the same."""
    tools = request.tools or []
    for n, tool in enumerate(tools):
        _check_tool(tool, f"tools[{n}]")
    if len(msgspec.json.encode(tools)) > MAX_BYTES:
        raise InvalidRequest(f"tools: more than {MAX_BYTES} bytes together", "tools")
    choice = read_choice(request)
    if choice is None:
        return None
    if _is_allowed(request):
        tools = [tool for tool in tools if tool["function"]["name"] in choice.names]
    return tools


def read_choice(request: ChatRequest) -> ToolChoice | None:
    """None where nothing is to be called. Raises for a choice among tools that there are not."""
    choice = request.tool_choice
    if isinstance(choice, str) and choice not in {"none", "auto", "required"}:
        message = "tool_choice: none, auto, required or an object is wanted"
        raise InvalidRequest(message, "tool_choice")
    if choice == "none" or (not request.tools and choice in (None, "auto")):
        return None
    if not request.tools:
        raise InvalidRequest("tool_choice: only with tools", "tool_choice")
    is_parallel = request.parallel_tool_calls is not False
    if choice is None or isinstance(choice, str):
        return ToolChoice("required" if choice == "required" else "auto", (), is_parallel)
    if choice.get("type") == "allowed_tools":
        allowed = _converted(choice.get("allowed_tools"), AllowedTools)
        named = tuple(tool.function.name for tool in allowed.tools)
        return ToolChoice(allowed.mode, _known(named, request), is_parallel)
    # one tool that must be called is called once, as OpenAI has it
    name = _converted(choice, NamedTool).function.name
    return ToolChoice("required", _known((name,), request), is_parallel=False)


def _is_allowed(request: ChatRequest) -> bool:
    choice = request.tool_choice
    return isinstance(choice, dict) and choice.get("type") == "allowed_tools"


def _known(names: tuple[str, ...], request: ChatRequest) -> tuple[str, ...]:
    offered = {tool.get("function", {}).get("name") for tool in request.tools or []}
    for name in names:
        if name not in offered:
            raise InvalidRequest(f"tool_choice: no tool is called {name[:64]!r}", "tool_choice")
    return names


def _converted(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"tool_choice: {error}", "tool_choice") from None


def _check_tool(tool: dict[str, Any], path: str) -> None:
    kind = tool.get("type")
    if kind == "custom":
        raise Unsupported(f"{path}.type: custom tools are not supported.", f"{path}.type")
    try:
        parameters = msgspec.convert(tool, Tool).function.parameters or {}
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{path}: {error}".replace(" - at `$.", " - at `"), path) from None
    path = f"{path}.function.parameters"
    if parameters.get("type", "object") != "object":
        raise InvalidRequest(f"{path}.type: arguments are an object", f"{path}.type")
    if _depth(parameters) > MAX_DEPTH:
        raise InvalidRequest(f"{path}: nested deeper than {MAX_DEPTH}", path)


def _depth(value: Any) -> int:
    """Levels of objects and lists, counted without recursion: the value is a client's."""
    depth, level = 0, [value]
    while level := [inner for outer in level for inner in _within(outer)]:
        depth += 1
    return depth


def _within(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
