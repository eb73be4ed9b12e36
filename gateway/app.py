"""Composition root: one app from settings and an engine, and the server around it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State
from prometheus_client import CollectorRegistry

from engine.api import Engine, ImageCache
from gateway.catalog.catalog import Catalog
from gateway.catalog.stores import stores_of
from gateway.config import Settings
from gateway.config.source import Source
from gateway.devices import devices_of, names_gpus
from gateway.errors import error_response
from gateway.events import Events
from gateway.gpus import gpus_here
from gateway.journeys import JourneyObserver, Journeys
from gateway.metrics import make_metrics
from gateway.metrics.refused import count_refused
from gateway.pool import Pool
from gateway.routes.anthropic import AnthropicController
from gateway.routes.chat import ChatController
from gateway.routes.completions import CompletionController
from gateway.routes.details import DetailsController
from gateway.routes.edge import Edge
from gateway.routes.embeddings import EmbeddingController
from gateway.routes.guard import guard
from gateway.routes.health import HealthController
from gateway.routes.infill import InfillController
from gateway.routes.keys import KeyController
from gateway.routes.metrics import MetricsController
from gateway.routes.models import ModelController
from gateway.routes.ollama import OllamaController
from gateway.routes.ollama_chat import OllamaChatController
from gateway.routes.ollama_pull import OllamaPullController
from gateway.routes.openapi import OpenApiController
from gateway.routes.origins import Origins
from gateway.routes.preload import preload_models
from gateway.routes.pulling import with_pulls
from gateway.routes.responses import ResponsesController
from gateway.routes.router import RouterController
from gateway.routes.services import Services
from gateway.routes.tokens import TokenController
from gateway.server import Server
from gateway.slow import SlowLog
from gateway.templates import aliases_of, templates_of
from gateway.tracing import make_telemetry
from gateway.translate.presets import check_presets
from gateway.upstreams import Upstreams
from gateway.wiring import (
    check_devices,
    groups_of,
    host_memory_of,
    limits_of,
    make_gate,
    make_store,
    mentioned_in,
)


def create_app(settings: Settings, engine: Engine) -> Litestar:
    """The gateway over an engine that is alive while the app is. `app.state.services` holds it."""
    services = _make_services(settings, engine)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        services.catalog.start()
        services.upstreams.start()
        preload = asyncio.create_task(preload_models(services))
        services.preloading.add(preload)
        preload.add_done_callback(services.preloading.discard)
        try:
            yield
        finally:
            await services.close()

    app = Litestar(
        [
            ChatController,
            CompletionController,
            InfillController,
            EmbeddingController,
            ResponsesController,
            ModelController,
            RouterController,
            DetailsController,
            OllamaController,
            OllamaChatController,
            OllamaPullController,
            AnthropicController,
            TokenController,
            HealthController,
            KeyController,
            MetricsController,
            OpenApiController,
        ],
        lifespan=[lifespan],
        state=State({"services": services}),
        guards=[guard],
        exception_handlers={Exception: error_response},
        request_max_body_size=None,  # `gateway.routes.body` has the limit, which may change
        openapi_config=None,
        logging_config=None,
    )
    edge = Edge(app.asgi_handler, Origins(settings), services.metrics.responses)
    services.when_reloaded.append(lambda settings: setattr(edge, "origins", Origins(settings)))
    app.asgi_handler = edge
    return app


def _make_services(settings: Settings, engine: Engine) -> Services:
    check_devices(settings, engine)
    check_presets(settings)
    catalog = Catalog(
        settings.models_dir,
        engine,
        aliases_of(settings),
        templates_of(settings),
        settings=settings.model,
        presets=settings.presets,
        defaults=settings.defaults,
        stores=stores_of(settings.discovery),
        mentioned=mentioned_in(settings),
    )
    pool = Pool(engine, limits_of(settings))
    events = Events(lambda: {model.id: pool.status(model.key) for model in catalog.models})
    pool.observe(events)
    catalog.when_scanned = lambda: pool.regroup(groups_of(services.settings, catalog))
    registry = CollectorRegistry(auto_describe=True)
    store = make_store(settings.store)
    upstreams = Upstreams(settings.upstreams, registry)
    metrics = make_metrics(
        registry,
        engine,
        pool,
        lambda: {model.id: model.card.path for model in [*upstreams.models, *catalog.models]},
        vllm_names=settings.metrics.vllm_names,
    )
    telemetry = make_telemetry(settings.traces)
    # before the others, since it says what a request is called elsewhere
    watching: list[JourneyObserver] = [telemetry] if telemetry else []
    watching += [metrics.requests, SlowLog(lambda: services.settings.log.slow_seconds)]
    journeys = Journeys(watching)
    pool.observe(journeys)
    catalog.is_elsewhere = upstreams.may_have
    gate = make_gate(settings)
    gate.on_refused = count_refused(registry, by_key=settings.keys.metrics_by_key)
    services = with_pulls(
        Services(
            settings,
            engine,
            catalog,
            pool,
            events,
            registry,
            store,
            upstreams,
            gate,
            metrics,
            journeys,
            telemetry,
        )
    )
    return services


def serve(
    settings: Settings,
    on_ready: Callable[[State], None] | None = None,
    source: Source | None = None,
) -> None:
    """Starts the engine and answers until a signal comes. Blocks.

    source: where settings are read again when they change. on_ready: called once the port is bound, with `services` and `address` (host, port). Raises
    `EngineError` if the engine does not start, `SettingsError` for settings that cannot be used.
    """
    import uvloop

    uvloop.run(_serve(settings, on_ready, source))


async def _serve(
    settings: Settings, on_ready: Callable[[State], None] | None, source: Source | None
) -> None:
    from engine.client import LocalEngine

    devices = devices_of(settings, gpus_here(os.environ) if names_gpus(settings) else ())
    engine = LocalEngine(
        devices,
        dtype=settings.dtype,
        kv_dtype=settings.kv_dtype,
        speculate=settings.speculate,
        images=ImageCache(settings.image_cache, settings.image_cache_bytes),
        host=host_memory_of(settings, len(devices)),
        threads=settings.threads,
    )
    app = create_app(settings, engine)
    await engine.start()
    try:
        await Server(app, settings, on_ready, source).serve()
    finally:
        await asyncio.shield(engine.stop())
