"""llama.cpp's router, as Open WebUI drives it, and what it has no word for: pins and plans."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import msgspec
import structlog
from litestar import Controller, Request, Response, get, post
from litestar.response import Stream

from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.errors import GatewayError, problem_of
from gateway.events import Events
from gateway.keys import visit
from gateway.llamacpp.models import Done, DownloadEvent, DownloadFailed, ModelEvent, ModelName
from gateway.openai import commands
from gateway.openai.commands import Load, Unload
from gateway.openapi.failures import BODY, LEASE, MODEL
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.pool import Plan
from gateway.pool.errors import error_of
from gateway.routes.body import decode, read_body
from gateway.routes.lease import leased, pool_model, refusal_of, served_context
from gateway.routes.naming import find_here
from gateway.routes.services import Services, services_of
from gateway.translate.models import read_event
from gateway.translate.plan import read_plan
from gateway.translate.sampling import read_keep_alive

_STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

_FRAMING = sse.Framing(closing=b"")

_load = msgspec.json.Decoder(Load)
_unload = msgspec.json.Decoder(Unload)
_name = msgspec.json.Decoder(ModelName)
_encode = msgspec.json.Encoder().encode

log = structlog.get_logger()
Body = TypeVar("Body", Load, Unload, ModelName)


class RouterController(Controller):
    """What is so already is answered with success, so that asking twice does no harm."""

    @post(
        ["/models/load", "/v1/models/load"],
        status_code=200,
        opt=operation(
            "load_model",
            "Have a model loaded",
            "Models",
            as_json(Done),
            scope="manage",
            body=_load,
            failures=(*BODY, *MODEL, *LEASE),
        ),
    )
    async def load(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answers when the load is ordered, or refused; how it goes on, the events tell."""
        order, model = await _read(request, _load)
        services = services_of(request)
        served_context(services.pool, model)
        keep_alive = read_keep_alive(order.keep_alive)
        task = asyncio.create_task(_preload(services, model, keep_alive))
        services.preloading.add(task)
        task.add_done_callback(services.preloading.discard)
        await asyncio.sleep(0)  # a refusal comes in its first step
        if task.done() and (refusal := task.result()):
            raise refusal
        return _json(Done())

    @post(
        ["/models/unload", "/v1/models/unload"],
        status_code=200,
        opt=operation(
            "unload_model",
            "Have a model leave",
            "Models",
            as_json(Done),
            scope="manage",
            body=_unload,
            failures=(*BODY, *MODEL),
        ),
    )
    async def unload(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """One that is on its way from the hub no longer comes."""
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        order = decode(body, _unload)
        if not services.pulls.cancel(order.model):
            model = await services.resolve(order.model)
            services.pool.unload(model.key, force=order.force)
        return _json(Done())

    @post(
        "/v1/models/pin",
        status_code=200,
        opt=operation(
            "pin_model",
            "Never evict a model",
            "Models",
            as_json(Done),
            scope="manage",
            body=_name,
            failures=(*BODY, *MODEL),
        ),
    )
    async def pin(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        _, model = await _read(request, _name)
        services_of(request).pool.pin(model.key)
        return _json(Done())

    @post(
        "/v1/models/unpin",
        status_code=200,
        opt=operation(
            "unpin_model",
            "Let a model be evicted again",
            "Models",
            as_json(Done),
            scope="manage",
            body=_name,
            failures=(*BODY, *MODEL),
        ),
    )
    async def unpin(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        _, model = await _read(request, _name)
        services_of(request).pool.pin(model.key, is_pinned=False)
        return _json(Done())

    @post(
        "/v1/models/plan",
        status_code=200,
        opt=operation(
            "plan_model",
            "What a request for a model would bring about",
            "Models",
            as_json(commands.Plan),
            scope="manage",
            body=_name,
            failures=(*BODY, *MODEL),
        ),
    )
    async def plan(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """What a request for the model would do now; nothing is done."""
        _, model = await _read(request, _name)
        services = services_of(request)
        plan = services.pool.plan(pool_model(model))
        return _json(read_plan(model, plan, _refusal(model, plan), services.settings))

    @get(
        "/models/sse",
        opt=operation(
            "follow_models",
            "Changes of models' states, as they come",
            "Models",
            as_stream(_FRAMING, ModelEvent, DownloadEvent, DownloadFailed),
            scope="manage",
        ),
    )
    async def events(self, request: Request[Any, Any, Any]) -> Response[Any]:
        """Changes of state and the progress of loads, from now on."""
        services = services_of(request)
        content = _events(services.events, services.settings.limits.keep_alive_seconds)
        return Stream(content, media_type=sse.MEDIA_TYPE, headers=_STREAM_HEADERS)


async def _read(
    request: Request[Any, Any, Any], decoder: msgspec.json.Decoder[Body]
) -> tuple[Body, KnownModel]:
    """The command, and the model that it names."""
    services = services_of(request)
    body = decode(await read_body(request, services.settings.limits.body_seconds), decoder)
    return body, await find_here(services, body.model)


async def _preload(
    services: Services, model: KnownModel, keep_alive: float | None
) -> GatewayError | None:
    """Returns why it failed: later than at once, nobody is there to be told."""
    try:
        async with leased(services.pool, model, keep_alive):
            return None
    except GatewayError as error:
        log.warning("preload_failed", model=model.id, reason=error.message)
        return error


def _refusal(model: KnownModel, plan: Plan) -> Any:
    return problem_of(refusal_of(error_of(model.id, plan.refusal))) if plan.refusal else None


async def _events(events: Events, seconds: float) -> AsyncGenerator[bytes, None]:
    key = visit().key
    with events.listen() as listener:
        yield sse.comment("listening")  # so that the client has the headers at once
        async for change in listener.events(seconds):
            if change is None:
                yield sse.comment("still here")
            elif not isinstance(change, tuple) or change[0] == "*" or key.allows(change[0]):
                yield sse.event(read_event(*change) if isinstance(change, tuple) else change)


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
