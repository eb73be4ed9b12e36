"""Tools of the Responses API as chats name them."""

from typing import Any

from gateway.errors import InvalidRequest, Unsupported

_MODES = {"none", "auto", "required"}
_FIELDS = ("name", "description", "parameters", "strict")


def read_functions(tools: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """The functions among the tools, as a chat takes them.

    Tools of other types would run on the provider's machines, or are for other models: Codex always
    lists some, so they are left out rather than refused.
    """
    return [
        {"type": "function", "function": {k: tool[k] for k in _FIELDS if tool.get(k) is not None}}
        for tool in tools or []
        if tool.get("type") == "function"
    ]


def ignored_tools(tools: list[dict[str, Any]] | None) -> list[str]:
    """The types of those that `read_functions` leaves out."""
    return sorted({str(t.get("type"))[:64] for t in tools or [] if t.get("type") != "function"})


def read_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """As a chat takes it. Raises for a choice that only a tool of another type could meet."""
    if isinstance(choice, str) and choice not in _MODES:
        raise InvalidRequest(f"tool_choice: {choice[:64]!r} is unknown", "tool_choice")
    if choice is None or isinstance(choice, str):
        return choice
    if choice.get("type") == "allowed_tools":
        named = choice.get("tools")
        if not isinstance(named, list):
            raise InvalidRequest("tool_choice.tools: a list is wanted", "tool_choice.tools")
        tools = [_named(tool) for tool in named]
        allowed = {"mode": choice.get("mode", "auto"), "tools": tools}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return _named(choice)


def _named(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict) or choice.get("type") != "function":
        kind = choice.get("type") if isinstance(choice, dict) else choice
        raise Unsupported(
            f"tool_choice: only functions can be called here, not {str(kind)[:64]!r}.",
            "tool_choice",
        )
    return {"type": "function", "function": {"name": choice.get("name")}}
