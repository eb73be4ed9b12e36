from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, route
from msgspec import Struct

from gateway.keys import visit
from gateway.openapi.operation import as_json, as_text, operation
from gateway.routes.services import Services, services_of

MAX_TICK_SECONDS = 10.0
"""A worker whose step loop was silent for longer is stuck, whatever else of it still answers."""

_encode = msgspec.json.Encoder().encode


class Alive(Struct, frozen=True):
    status: str = "ok"


class Health(Struct, frozen=True):
    """failures: model id -> why it cannot be served; they make nobody unready.

    Anybody can ask for this, so they are told only where requests without a key may manage models.
    """

    status: str
    is_text_alive: bool
    workers: dict[str, float]
    models: int
    failures: dict[str, str]


class HealthController(Controller):
    @route(
        "/",
        http_method=["GET", "HEAD"],
        opt=operation(
            "greet",
            "A sign of life",
            "Server",
            as_text("text/plain"),
            scope="open",
        ),
    )
    async def root(self) -> Response[bytes]:
        """Clients of Anthropic's and Ollama's ask it for a sign of life."""
        return Response(b"Roundhouse is running", media_type="text/plain")

    @get(
        "/livez",
        opt=operation(
            "is_alive",
            "Whether the process answers",
            "Server",
            as_json(Alive),
            scope="open",
        ),
    )
    async def livez(self) -> Response[bytes]:
        """Says only that the process answers."""
        return Response(_encode(Alive()), media_type="application/json")

    @get(
        ["/readyz", "/health"],
        opt=operation(
            "is_ready",
            "Whether requests would be served",
            "Server",
            as_json(Health),
            as_json(Health, status=503),
            scope="open",
        ),
    )
    async def readyz(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Whether requests would be served: the text process and every worker are alive."""
        health = _look(services_of(request))
        status_code = 200 if health.status == "ok" else 503
        return Response(_encode(health), media_type="application/json", status_code=status_code)


def _look(services: Services) -> Health:
    engine = services.engine.status
    is_alive = all(
        engine.workers.get(device.name, MAX_TICK_SECONDS) < MAX_TICK_SECONDS
        for device in services.engine.devices
    )
    status = "ok" if engine.text_alive and is_alive else "unavailable"
    return Health(
        status="draining" if services.is_draining else status,
        is_text_alive=engine.text_alive,
        workers=engine.workers,
        models=len(services.catalog.models),
        failures=services.catalog.failures if "manage" in visit().key.scopes else {},
    )
