"""Where errors become protocol: status, headers and OpenAI's envelope. Nowhere else.

What we raise ourselves says its meaning in its class; what others raise is translated in `problems`.
Streams that have begun send the same envelope as an event.
"""

from gateway.errors.access import (
    BudgetSpent,
    ForbiddenOrigin,
    MissingScope,
    QueueFull,
    RateLimited,
    ShuttingDown,
    SwapNotAllowed,
    TooManyConnections,
    Unauthorized,
)
from gateway.errors.base import ClientGone, GatewayError
from gateway.errors.handler import ErrorHandler, Shape, error_response
from gateway.errors.models import (
    ModelLoadFailed,
    ModelNotFound,
    ModelNotLoaded,
    ModelNotReady,
    ModelTooLarge,
    ModelUnloaded,
    PinnedModelsInTheWay,
)
from gateway.errors.problems import MAX_RETRY_AFTER_SECONDS, Problem, is_foreseen, problem_of
from gateway.errors.requests import (
    ContextLengthExceeded,
    InvalidGrammar,
    InvalidRequest,
    InvalidSchema,
    NoChatTemplate,
    PreviousResponseNotFound,
    RequestTimeout,
    ResponseNotFound,
    Unsupported,
    UnsupportedEncoding,
)
from gateway.errors.upstreams import (
    UpstreamBusy,
    UpstreamFailed,
    UpstreamKeyRefused,
    UpstreamLoop,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
)

__all__ = [
    "MAX_RETRY_AFTER_SECONDS",
    "BudgetSpent",
    "ClientGone",
    "ContextLengthExceeded",
    "ErrorHandler",
    "ForbiddenOrigin",
    "GatewayError",
    "InvalidGrammar",
    "InvalidRequest",
    "InvalidSchema",
    "MissingScope",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModelNotLoaded",
    "ModelNotReady",
    "ModelTooLarge",
    "ModelUnloaded",
    "NoChatTemplate",
    "PinnedModelsInTheWay",
    "PreviousResponseNotFound",
    "Problem",
    "QueueFull",
    "RateLimited",
    "RequestTimeout",
    "ResponseNotFound",
    "Shape",
    "ShuttingDown",
    "SwapNotAllowed",
    "TooManyConnections",
    "Unauthorized",
    "Unsupported",
    "UnsupportedEncoding",
    "UpstreamBusy",
    "UpstreamFailed",
    "UpstreamKeyRefused",
    "UpstreamLoop",
    "UpstreamRefused",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "error_response",
    "is_foreseen",
    "problem_of",
]
