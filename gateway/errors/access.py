"""Who may ask, and how much at a time."""

from gateway.errors.base import GatewayError


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


class ForbiddenOrigin(GatewayError):
    """A host name or a web page that this server does not answer to."""

    status = 403
    type = "permission_error"
    code = "forbidden_origin"


class QueueFull(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class RateLimited(QueueFull):
    """The key has used up what it may ask for in a minute, or at once."""


class BudgetSpent(GatewayError):
    """The key has used up its seconds of computing: to ask again soon is of no use."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    heals = False


class TooManyConnections(GatewayError):
    status = 503
    type = "server_error"
    code = "too_many_connections"


class ShuttingDown(GatewayError):
    status = 503
    type = "server_error"
    code = "shutting_down"
