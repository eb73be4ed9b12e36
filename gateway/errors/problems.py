"""Errors as HTTP sends them: ours by what their classes say, those of others by what is said here."""

import re
from functools import singledispatch

import msgspec
from litestar.exceptions import HTTPException
from msgspec import Struct

from engine.api import EngineError, ErrorCode
from gateway.errors.base import ClientGone, GatewayError
from gateway.errors.upstreams import UpstreamRefused
from gateway.hub.errors import HubCode, HubError
from gateway.openai.errors import ErrorBody, ErrorReply

MAX_RETRY_AFTER_SECONDS = 120
"""SDKs give up retrying when asked to wait longer."""


class Problem(Struct, frozen=True):
    """An error as HTTP sends it."""

    status: int
    body: ErrorBody
    heals: bool | None = None
    retry_after_seconds: float | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {}
        if self.heals is not None:
            headers["x-should-retry"] = "true" if self.heals else "false"
        if self.retry_after_seconds is not None:
            seconds = min(max(self.retry_after_seconds, 1), MAX_RETRY_AFTER_SECONDS)
            headers["retry-after"] = str(round(seconds))
        if self.status == 401:
            headers["www-authenticate"] = 'Bearer realm="roundhouse"'
        if self.status in {408, 413}:  # what is left of the body is not read
            headers["connection"] = "close"
        return headers

    @property
    def reply(self) -> ErrorReply:
        return ErrorReply(self.body)


@singledispatch
def problem_of(error: Exception) -> Problem:
    """The answer to an error. One that nobody foresaw tells the client nothing of our insides."""
    del error
    return Problem(500, ErrorBody("The server made an error; its log says which.", "server_error"))


def is_foreseen(error: Exception) -> bool:
    """Whether `problem_of` knows what the error means; a bug of ours is not foreseen."""
    return problem_of.dispatch(type(error)) is not problem_of.dispatch(Exception)


@problem_of.register
def _(error: ClientGone) -> Problem:
    """The status is nginx's, for the log."""
    return Problem(499, ErrorBody(str(error), "invalid_request_error"))


@problem_of.register
def _(error: GatewayError) -> Problem:
    body = ErrorBody(error.message, error.type, error.param, error.code)
    return Problem(error.status, body, error.heals, error.retry_after_seconds)


@problem_of.register
def _(error: UpstreamRefused) -> Problem:
    return Problem(error.refused_with, error.body)


class _Meaning(Struct, frozen=True):
    status: int
    type: str
    code: str | None
    heals: bool | None = None
    retry_after_seconds: float | None = None


_ENGINE: dict[ErrorCode, _Meaning] = {
    "bad_checkpoint": _Meaning(503, "server_error", "model_load_failed", heals=False),
    "no_chat_template": _Meaning(400, "invalid_request_error", "no_chat_template"),
    "template_failed": _Meaning(400, "invalid_request_error", "template_failed"),
    "bad_request": _Meaning(400, "invalid_request_error", None),
    "stale_handle": _Meaning(503, "server_error", "model_evicted", retry_after_seconds=1),
    "out_of_memory": _Meaning(503, "server_error", "out_of_memory", retry_after_seconds=5),
    "worker_lost": _Meaning(500, "server_error", None, retry_after_seconds=5),
    "text_lost": _Meaning(500, "server_error", None, retry_after_seconds=5),
    "internal": _Meaning(500, "server_error", None),
}
_ENGINE_PARAMS: dict[ErrorCode, str] = {
    "no_chat_template": "messages",
    "template_failed": "messages",
}


@problem_of.register
def _(error: EngineError) -> Problem:
    meaning = _ENGINE[error.code]
    param = error.param or _ENGINE_PARAMS.get(error.code)
    body = ErrorBody(error.message, meaning.type, param, meaning.code)
    return Problem(meaning.status, body, meaning.heals, meaning.retry_after_seconds)


_HUB: dict[HubCode, _Meaning] = {
    "bad_reference": _Meaning(400, "invalid_request_error", "bad_reference"),
    "not_found": _Meaning(404, "invalid_request_error", "model_not_found"),
    "nothing_to_pull": _Meaning(404, "invalid_request_error", "model_not_found"),
    "denied": _Meaning(403, "permission_error", "hub_access_denied"),
    "not_allowed": _Meaning(403, "permission_error", "not_allowed"),
    "outside": _Meaning(403, "permission_error", "not_allowed"),
    "offline": _Meaning(503, "server_error", "hub_offline", heals=False),
    "unreachable": _Meaning(502, "server_error", "hub_unreachable"),
    "corrupt": _Meaning(502, "server_error", "download_corrupt"),
    "disk_full": _Meaning(507, "server_error", "disk_full", heals=False),
    "cannot_write": _Meaning(500, "server_error", "cannot_write", heals=False),
    "busy": _Meaning(429, "rate_limit_error", "rate_limit_exceeded", retry_after_seconds=60),
    "cancelled": _Meaning(409, "invalid_request_error", "pull_cancelled", heals=False),
}


@problem_of.register
def _(error: HubError) -> Problem:
    meaning = _HUB[error.code]
    body = ErrorBody(f"{error.message}.", meaning.type, "model", meaning.code)
    return Problem(meaning.status, body, meaning.heals, meaning.retry_after_seconds)


_PATH = re.compile(r"^(?P<reason>.*) - at (?:`key` in )?`\$\.?(?P<path>.*)`$", re.DOTALL)


@problem_of.register
def _(error: msgspec.ValidationError) -> Problem:
    """Its messages end with "- at `$.messages[0].role`", which is what `param` wants."""
    found = _PATH.match(str(error))
    path = found["path"].replace("[...]", "") if found else ""
    reason = found["reason"] if found else str(error)
    message = f"{path}: {reason}" if path else reason
    return Problem(400, ErrorBody(message, "invalid_request_error", path or None))


@problem_of.register(msgspec.DecodeError)
@problem_of.register(UnicodeDecodeError)
def _(error: ValueError) -> Problem:
    message = f"The body is not JSON in UTF-8: {error}."
    return Problem(400, ErrorBody(message, "invalid_request_error"))


_HTTP_CODES = {404: "not_found", 405: "method_not_supported", 413: "request_too_large"}
_HTTP_MESSAGES = {
    404: "There is nothing at this path.",
    405: "This path does not answer that method.",
    413: "The body is too large.",
}


@problem_of.register
def _(error: HTTPException) -> Problem:
    """Litestar's own: unknown route, wrong method, body too large."""
    status = error.status_code
    if status >= 500:
        return Problem(status, ErrorBody("The server made an error.", "server_error"))
    message = _HTTP_MESSAGES.get(status, error.detail)
    body = ErrorBody(message, "invalid_request_error", None, _HTTP_CODES.get(status))
    return Problem(status, body)
