"""What can go wrong on a handler's way, by what the way passes: one error of each meaning.

Their statuses, bodies and headers are those that `gateway.errors` gives them, in the document too.
"""

from typing import Final

import msgspec
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from engine.api import EngineError, ErrorCode
from gateway import errors
from gateway.hub.errors import HubError
from gateway.openai.errors import ErrorBody

Failures = tuple[Exception, ...]


def _engine(*codes: ErrorCode) -> Failures:
    return tuple(EngineError(code, "") for code in codes)


BUG: Final = RuntimeError()
"""One that nobody foresaw: on every route."""

EDGE: Final = errors.ForbiddenOrigin("")
"""Raised round the app, so that it has OpenAI's shape whatever the route."""

KEY: Final = (
    errors.Unauthorized(""),
    errors.MissingScope(""),
    errors.RateLimited("", None, 1),
    errors.BudgetSpent(""),
)
"""Each request of a route that is not open to all needs a key that is good for it."""

BODY: Final[Failures] = (
    msgspec.DecodeError(),
    errors.InvalidRequest(""),
    errors.RequestTimeout(""),
    errors.UnsupportedEncoding(""),
    RequestEntityTooLarge(),
)
"""A body is read and decoded."""

MODEL: Final[Failures] = (errors.ModelNotFound(""), errors.ModelLoadFailed(""))
"""The catalog is asked for a model by name."""

TEXT: Final[Failures] = (
    errors.Unsupported(""),
    errors.NoChatTemplate(""),
    errors.ContextLengthExceeded(""),
    *_engine("bad_checkpoint", "bad_request", "template_failed", "text_lost", "internal"),
)
"""The text process renders and tokenizes."""

LEASE: Final[Failures] = (
    errors.QueueFull(""),
    errors.ModelNotReady(""),
    errors.ModelLoadFailed(""),
    errors.ModelNotLoaded(""),
    errors.ModelTooLarge(""),
    errors.SwapNotAllowed(""),
    errors.PinnedModelsInTheWay(""),
    errors.ModelUnloaded(""),
    errors.ShuttingDown(""),
    *_engine("stale_handle", "out_of_memory", "worker_lost", "internal"),
)
"""The pool brings a model into memory, and a worker runs it."""

_REFUSED: Final = ErrorBody("", "invalid_request_error")

UPSTREAM: Final[Failures] = (
    errors.UpstreamFailed(""),
    errors.UpstreamKeyRefused(""),
    errors.UpstreamTimeout(""),
    errors.UpstreamUnavailable(""),
    errors.UpstreamLoop(""),
    errors.UpstreamBusy(""),
    *(errors.UpstreamRefused(status, _REFUSED) for status in (400, 413, 415, 422)),
)
"""Another server answers, or does not."""

PULL: Final[Failures] = tuple(
    HubError(code, "") for code in ("bad_reference", "not_allowed", "busy")
)
"""A model is to come from the hub."""

BROUGHT: Final[Failures] = (
    *PULL,
    *(
        HubError(code, "")
        for code in (
            "not_found",
            "offline",
            "unreachable",
            "disk_full",
            "cannot_write",
            "cancelled",
        )
    ),
)
"""And is waited for."""

REMOVAL: Final[Failures] = (HubError("not_allowed", ""), HubError("cannot_write", ""))
"""A model is removed from the models folder."""

GRAMMAR: Final[Failures] = (errors.InvalidSchema(""), errors.InvalidGrammar(""))
"""An answer is made to follow a schema or a grammar."""

VECTORS: Final[Failures] = (*BODY, *MODEL, *TEXT, *LEASE, *UPSTREAM)
GENERATION: Final[Failures] = (*VECTORS, *GRAMMAR)
