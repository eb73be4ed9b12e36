"""What answers for a route that raised."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from msgspec import Struct

from gateway.errors.problems import Problem, is_foreseen, problem_of
from gateway.log import note

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode

Shape = Callable[[Problem], tuple[int, Struct]]
"""A problem's status and body, as the client's API has them."""


@dataclass(frozen=True)
class ErrorHandler:
    """Litestar's handler of every exception of routes whose API words its errors so."""

    shape: Shape

    def __call__(self, _: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        problem = problem_of(error)
        note(error=problem.body.message, error_code=problem.body.code or problem.body.type)
        if not is_foreseen(error):
            log.error("request_failed", exc_info=error)
        status, body = self.shape(problem)
        allow = getattr(error, "headers", None) or {}
        return Response(
            _encode(body),
            status_code=status,
            headers={**allow, **problem.headers},
            media_type="application/json",
        )


error_response = ErrorHandler(lambda problem: (problem.status, problem.reply))
