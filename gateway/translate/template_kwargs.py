"""What a client may set in a model's chat template: a few known switches, and scalars only."""

from typing import Any, Final

from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest

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
    if request.chat_template is not None:
        raise Unsupported("chat_template: only the operator sets templates.", "chat_template")
    kwargs: dict[str, Any] = {}
    if request.reasoning_effort == "none":
        kwargs["enable_thinking"] = False
    elif request.reasoning_effort is not None:
        kwargs["reasoning_effort"] = request.reasoning_effort
    if request.enable_thinking is not None:
        kwargs["enable_thinking"] = request.enable_thinking
    for name, value in (request.chat_template_kwargs or {}).items():
        _check(name, value)
        kwargs[name] = value
    return kwargs


def _check(name: str, value: object) -> None:
    param = f"chat_template_kwargs.{name[:64]}"
    if name not in ALLOWED:
        raise InvalidRequest(f"{param}: not one of {', '.join(sorted(ALLOWED))}", param)
    if not isinstance(value, str | int | float | bool | None):
        raise InvalidRequest(f"{param}: a plain value is wanted, not an object or list", param)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise InvalidRequest(f"{param}: longer than {MAX_TEXT} characters", param)
