"""Other servers that were to answer in our place."""

from gateway.errors.access import QueueFull
from gateway.errors.base import GatewayError
from gateway.openai.errors import ErrorBody


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


class UpstreamLoop(UpstreamFailed):
    """The request came through this server before: its upstreams lead back here."""

    status = 508
    code = "upstream_loop"


class UpstreamBusy(QueueFull):
    """The other server has too much to do, or too much of us."""


class UpstreamRefused(GatewayError):
    """The other server finds the client's request wrong: its own words and status are passed on."""

    def __init__(self, refused_with: int, body: ErrorBody) -> None:
        super().__init__(body.message, body.param)
        self.refused_with = refused_with
        self.body = body
