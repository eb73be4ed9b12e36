"""Our errors in Anthropic's words."""

from typing import Final

import structlog
from msgspec import Struct

from gateway.anthropic.errors import ErrorDetail
from gateway.anthropic.errors import ErrorReply as AnthropicError
from gateway.errors import Problem
from gateway.openai.errors import ErrorReply

OVERLOADED_STATUS: Final = 529
_PASSING = {"model_loading", "model_evicted", "shutting_down", "out_of_memory"}
"""Codes of what is gone when the client tries again."""
_TYPES = {
    "model_not_found": "not_found_error",
    "not_found": "not_found_error",
    "request_too_large": "request_too_large",
    "request_timeout": "timeout_error",
    "invalid_api_key": "authentication_error",
    "insufficient_quota": "rate_limit_error",
    **dict.fromkeys(_PASSING, "overloaded_error"),
}


def read_error(reply: ErrorReply) -> AnthropicError:
    body = reply.error
    kind = "api_error" if body.type == "server_error" else body.type
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return AnthropicError(ErrorDetail(_TYPES.get(body.code or "", kind), body.message), request_id)


def shape_problem(problem: Problem) -> tuple[int, Struct]:
    """Status and body. 529 is Anthropic's own, for what passes."""
    error = read_error(problem.reply)
    is_overload = error.error.type == "overloaded_error"
    return OVERLOADED_STATUS if is_overload else problem.status, error
