"""What Ollama's clients ask to see: which models there are and are in memory, and what they are."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, post

from gateway.errors import ErrorHandler, InvalidRequest
from gateway.ollama.models import Running, RunningList, TagList, Version
from gateway.ollama.replies import Shown
from gateway.ollama.requests import ShowRequest
from gateway.openapi.failures import BODY, MODEL
from gateway.openapi.operation import as_json, operation
from gateway.routes.body import decode, read_body
from gateway.routes.models import LIST_SECONDS, shown_context
from gateway.routes.naming import all_models, find_model
from gateway.routes.ollama_chat import shape_problem
from gateway.routes.services import Services, services_of
from gateway.translate.ollama import read_running, read_shown, read_tag
from gateway.translate.ollama_requests import model_name
from gateway.version import own_version

_RESIDENT = {"loaded", "draining"}

_show = msgspec.json.Decoder(ShowRequest)
_encode = msgspec.json.Encoder().encode


class OllamaController(Controller):
    exception_handlers = {Exception: ErrorHandler(shape_problem)}  # noqa: RUF012 - Litestar's way

    @get(
        "/api/tags",
        opt=operation(
            "list_ollama_models",
            "The models that there are",
            "Ollama",
            as_json(TagList),
            scope="infer",
        ),
    )
    async def list_tags(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        await services.catalog.wait(LIST_SECONDS)
        await services.upstreams.looked(LIST_SECONDS)
        return _json(TagList([read_tag(model) for model in all_models(services)]))

    @get(
        "/api/ps",
        opt=operation(
            "list_ollama_running",
            "The models that are in memory",
            "Ollama",
            as_json(RunningList),
            scope="infer",
        ),
    )
    async def list_running(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        return _json(RunningList(_running(services_of(request))))

    @get(
        "/api/version",
        opt=operation(
            "show_ollama_version",
            "This server's version",
            "Ollama",
            as_json(Version),
            scope="infer",
        ),
    )
    async def show_version(self) -> Response[bytes]:
        return _json(Version(own_version()))

    @post(
        "/api/show",
        status_code=200,
        opt=operation(
            "show_ollama_model",
            "What a model is",
            "Ollama",
            as_json(Shown),
            scope="infer",
            body=_show,
            failures=(*BODY, *MODEL),
        ),
    )
    async def show(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        wanted = decode(body, _show)
        if not (name := wanted.model or wanted.name):
            raise InvalidRequest("model: which?", "model")
        model = await find_model(services, model_name(name))
        return _json(read_shown(model, shown_context(services, model)))


def _running(services: Services) -> list[Running]:
    """By when they expire, the last first, as Ollama sorts them."""
    now = datetime.now(UTC)
    running = []
    for model in services.models:
        status = services.pool.status(model.key)
        if status.state in _RESIDENT:
            running.append(read_running(model, status, now))
    return sorted(running, key=lambda model: model.expires_at, reverse=True)


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
