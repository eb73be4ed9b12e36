"""What Ollama's clients ask to see which models there are, and which are in memory."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get

from gateway.ollama.models import Running, RunningList, TagList, Version
from gateway.routes.models import LIST_SECONDS
from gateway.routes.services import Services, services_of
from gateway.translate.ollama import read_running, read_tag
from gateway.version import own_version

_RESIDENT = {"loaded", "draining"}

_encode = msgspec.json.Encoder().encode


class OllamaController(Controller):
    """Lists only: chats go to OpenAI's routes."""

    @get("/api/tags")
    async def list_tags(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        await services.catalog.wait(LIST_SECONDS)
        return _json(TagList([read_tag(model) for model in services.catalog.models]))

    @get("/api/ps")
    async def list_running(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        return _json(RunningList(_running(services_of(request))))

    @get("/api/version")
    async def show_version(self) -> Response[bytes]:
        return _json(Version(own_version()))


def _running(services: Services) -> list[Running]:
    """By when they expire, the last first, as Ollama sorts them."""
    now = datetime.now(UTC)
    running = []
    for model in services.catalog.models:
        status = services.pool.status(model.key)
        if status.state in _RESIDENT:
            running.append(read_running(model, status, now))
    return sorted(running, key=lambda model: model.expires_at, reverse=True)


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
