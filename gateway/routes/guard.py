"""Asks each request for its key, by what its route says of itself: never by its path."""

from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from gateway.config import KeysSettings, Scope
from gateway.errors import ShuttingDown
from gateway.keys import visit
from gateway.log import note
from gateway.openapi.operation import KEY, Access, Operation

METHODS_ONLY: Final = frozenset({"OPTIONS"})
"""Litestar's own answer to it says which methods a path has, and nothing else."""


class UndeclaredRoute(RuntimeError):
    """A bug of ours, found by the first request, and by a test before that."""


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Runs before the handler, so before the body is read. Raises a `GatewayError`."""
    if isinstance(handler, HTTPRouteHandler) and handler.http_methods <= METHODS_ONLY:
        return
    services = connection.app.state.services
    if services.is_draining and connection.scope.get("method") == "POST":
        raise ShuttingDown("The server is shutting down.", retry_after_seconds=1)
    scope = needed(access_of(handler), services.settings.keys)
    key = services.gate.admit(visit(), dict(connection.scope["headers"]), scope)
    if key.digest:
        note(key=key.name)


def access_of(handler: BaseRouteHandler) -> Access:
    """What the handler is for. Raises `UndeclaredRoute`: nobody comes in by a door that has no lock."""
    declared = handler.opt.get(KEY)
    if not isinstance(declared, Operation):
        raise UndeclaredRoute(f"{handler}: it needs opt=operation(..., scope=...)")
    return declared.scope


def needed(access: Access, settings: KeysSettings) -> Scope | None:
    """The scope that a key must have; None where none is needed."""
    if access == "metrics":
        return None if settings.open_metrics else "manage"
    return None if access == "open" else access
