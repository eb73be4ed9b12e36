"""Where errors become protocol: status, headers and OpenAI's envelope. Nowhere else.

What we raise ourselves says its meaning in its class; what others raise is translated here.
Streams that have begun send the same envelope as an event.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, ClassVar

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from engine.api import EngineError, ErrorCode
from gateway.hub.errors import HubCode, HubError
from gateway.log import note
from gateway.openai.errors import ErrorBody, ErrorReply

MAX_RETRY_AFTER_SECONDS = 120
"""SDKs give up retrying when asked to wait longer."""


log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class GatewayError(Exception):
    """An answer other than success.

    heals: whether the same request may succeed later without anyone's doing; None leaves it to the
    client's own rule for the status.
    """

    status: ClassVar[int] = 400
    type: ClassVar[str] = "invalid_request_error"
    code: ClassVar[str | None] = None
    heals: ClassVar[bool | None] = None

    def __init__(
        self, message: str, param: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(GatewayError):
    """A value that is wrong whatever the state of the server."""


class Unsupported(InvalidRequest):
    """A wish that OpenAI's interface knows and this server cannot honour, or not yet."""

    code = "unsupported_value"


class InvalidSchema(InvalidRequest):
    """A JSON schema that answers cannot be made to follow."""

    code = "invalid_json_schema"


class InvalidGrammar(InvalidRequest):
    """A regular expression or grammar that answers cannot be made to follow."""

    code = "invalid_grammar"


class NoChatTemplate(InvalidRequest):
    code = "no_chat_template"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class PreviousResponseNotFound(InvalidRequest):
    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"previous_response_id: no finished response {response_id[:80]!r} is kept here, or one "
            f"before it is gone.",
            "previous_response_id",
        )


class ResponseNotFound(GatewayError):
    status = 404
    code = "not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"No response {response_id[:80]!r} is kept here.", "response_id")


class ModelNotFound(GatewayError):
    status = 404
    code = "model_not_found"

    def __init__(self, name: str, candidates: Sequence[str] = ()) -> None:
        """candidates: ids that the name might mean, when there are several."""
        shown = name if len(name) <= 200 else name[:200] + "..."
        hint = f"it could be any of {', '.join(candidates)}" if candidates else "see /v1/models"
        super().__init__(f"The model {shown!r} does not exist: {hint}.", "model")


class ModelLoadFailed(GatewayError):
    """The model's files cannot be served as they are; only changing them helps."""

    status = 503
    type = "server_error"
    code = "model_load_failed"
    heals = False


class ModelNotLoaded(GatewayError):
    """A load failed for a reason that may pass, such as a full device."""

    status = 503
    type = "server_error"
    code = "model_load_failed"


class ModelTooLarge(GatewayError):
    """Whatever else is evicted, no device here can hold the model."""

    status = 507
    type = "server_error"
    code = "model_too_large"
    heals = False


class PinnedModelsInTheWay(GatewayError):
    """The model would fit, but for models that are pinned; only unpinning one helps."""

    status = 503
    type = "server_error"
    code = "only_pinned_models_left"
    heals = False


class ModelUnloaded(GatewayError):
    """Somebody had the model unloaded by force while the request waited for it or used it."""

    status = 503
    type = "server_error"
    code = "model_evicted"


class QueueFull(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class ModelNotReady(GatewayError):
    """The model was not ready in the time that a request may wait."""

    status = 503
    type = "server_error"
    code = "model_loading"


class UpstreamFailed(GatewayError):
    """Another server, which was to answer in our place, did not."""

    status = 502
    type = "server_error"
    code = "upstream_failed"


class UpstreamKeyRefused(UpstreamFailed):
    """The other server refuses our key, not the client's: only who runs this one can mend that."""

    code = "upstream_key_refused"
    heals = False


class UpstreamTimeout(UpstreamFailed):
    status = 504
    code = "upstream_timeout"


class UpstreamUnavailable(UpstreamFailed):
    """Every server that has the model failed a moment ago, and is left alone."""

    status = 503
    code = "upstream_unavailable"


class UpstreamBusy(QueueFull):
    """The other server has too much to do, or too much of us."""


class UpstreamRefused(GatewayError):
    """The other server finds the client's request wrong: its own words and status are passed on."""

    def __init__(self, refused_with: int, body: ErrorBody) -> None:
        super().__init__(body.message, body.param)
        self.refused_with = refused_with
        self.body = body


class ShuttingDown(GatewayError):
    status = 503
    type = "server_error"
    code = "shutting_down"


class RequestTimeout(GatewayError):
    status = 408
    code = "request_timeout"


class UnsupportedEncoding(InvalidRequest):
    """A body that is packed in some way."""

    status = 415
    code = "unsupported_content_encoding"


class TooManyConnections(GatewayError):
    status = 503
    type = "server_error"
    code = "too_many_connections"


class ForbiddenOrigin(GatewayError):
    """A host name or a web page that this server does not answer to."""

    status = 403
    type = "permission_error"
    code = "forbidden_origin"


class Unauthorized(GatewayError):
    """A key is needed, and none came, or one that is not good."""

    status = 401
    code = "invalid_api_key"


class MissingScope(GatewayError):
    """The key is good, but not for this."""

    status = 403
    type = "permission_error"
    code = "insufficient_permissions"


class SwapNotAllowed(GatewayError):
    """The key may use models that are in memory, and have none brought there."""

    status = 403
    type = "permission_error"
    code = "swap_not_allowed"


class RateLimited(QueueFull):
    """The key has used up what it may ask for in a minute, or at once."""


class BudgetSpent(GatewayError):
    """The key has used up its seconds of computing: to ask again soon is of no use."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    heals = False


class ClientGone(Exception):
    """The client closed its connection before it was answered. Nobody hears the reply."""


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
