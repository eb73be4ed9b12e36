"""Tools as templates read them. Calls in the answer are not parsed yet: they stay text."""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest, Tool


def read_tools(request: ChatRequest) -> list[dict[str, Any]] | None:
    """None if there are none to be used: templates tell that from an empty list."""
    for n, tool in enumerate(request.tools or []):
        _check_tool(tool, f"tools[{n}]")
    choice = request.tool_choice
    if choice is not None and choice not in ("auto", "none"):
        raise Unsupported("tool_choice: only auto and none are supported yet.", "tool_choice")
    return (request.tools or None) if choice != "none" else None


def _check_tool(tool: dict[str, Any], path: str) -> None:
    kind = tool.get("type")
    if kind == "custom":
        raise Unsupported(f"{path}.type: custom tools are not supported.", f"{path}.type")
    try:
        msgspec.convert(tool, Tool)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{path}: {error}".replace(" - at `$.", " - at `"), path) from None
