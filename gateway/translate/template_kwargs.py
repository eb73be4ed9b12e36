"""What a client may set in a model's chat template: a few known switches, and scalars only."""

from typing import Any, Final

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest, Thinking

ALLOWED: Final = frozenset(
    {
        "date_string",
        "enable_thinking",
        "keep_all_reasoning",
        "model_identity",
        "preserve_thinking",
        "reasoning_effort",
        "thinking",
        "thinking_budget",
        "tools_in_user_message",
    }
)
MAX_TEXT = 256


def read_template_kwargs(request: ChatRequest) -> dict[str, Any]:
    """`chat_template_kwargs`, with the fields that mean the same laid under them."""
    if request.chat_template not in (None, False):
        raise Unsupported("chat_template: only the operator sets templates.", "chat_template")
    kwargs = _reasoning(request)
    for name, value in (request.chat_template_kwargs or {}).items():
        _check(name, value)
        kwargs[name] = value
    return kwargs


def _reasoning(request: ChatRequest) -> dict[str, Any]:
    """Of several ways to say the same the plainer one wins: a field over an object's."""
    asked = request.reasoning
    effort = request.reasoning_effort or (asked.effort if asked else None)
    said: dict[str, Any] = {}
    if effort == "none":
        said["enable_thinking"] = False
    elif effort is not None:
        said["reasoning_effort"] = effort
    if asked and asked.max_tokens is not None:
        said["thinking_budget"] = asked.max_tokens
    switches = (asked.enabled if asked else None, _switch(request), request.enable_thinking)
    for is_on in switches:
        if is_on is not None:
            said["enable_thinking"] = is_on
    return said


def _switch(request: ChatRequest) -> bool | None:
    if isinstance(request.thinking, Thinking):
        return {"enabled": True, "disabled": False}.get(request.thinking.type)
    return request.thinking


def _check(name: str, value: object) -> None:
    param = f"chat_template_kwargs.{name[:64]}"
    if name not in ALLOWED:
        raise InvalidRequest(f"{param}: not one of {', '.join(sorted(ALLOWED))}", param)
    if not isinstance(value, str | int | float | bool | None):
        raise InvalidRequest(f"{param}: a plain value is wanted, not an object or list", param)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise InvalidRequest(f"{param}: longer than {MAX_TEXT} characters", param)
