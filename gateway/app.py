"""Composition root: one app from settings and an engine, and the server around it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from socket import socket
from types import FrameType

import structlog
import uvicorn
from litestar import Litestar
from litestar.datastructures import State

from engine.api import Engine, ImageCache
from gateway.catalog.catalog import Catalog
from gateway.config import Settings, SettingsError
from gateway.connections import protocol_of
from gateway.errors import error_response
from gateway.events import Events
from gateway.metrics import make_registry
from gateway.pool import Pool
from gateway.routes.anthropic import AnthropicController
from gateway.routes.chat import ChatController
from gateway.routes.completions import CompletionController
from gateway.routes.edge import Edge
from gateway.routes.embeddings import EmbeddingController
from gateway.routes.health import HealthController
from gateway.routes.infill import InfillController
from gateway.routes.metrics import MetricsController
from gateway.routes.models import ModelController
from gateway.routes.ollama import OllamaController
from gateway.routes.ollama_chat import OllamaChatController
from gateway.routes.openapi import OpenApiController
from gateway.routes.origins import Origins
from gateway.routes.preload import preload_models
from gateway.routes.responses import ResponsesController
from gateway.routes.router import RouterController
from gateway.routes.services import Services
from gateway.routes.tokens import TokenController
from gateway.translate.presets import check_presets
from gateway.wiring import (
    check_devices,
    devices_of,
    groups_of,
    host_memory_of,
    limits_of,
    make_store,
)

MAX_TEMPLATE_BYTES = 256 * 1024
END_SECONDS = 1.0
"""How long replies that were cut may take to say so."""

log = structlog.get_logger()


def create_app(settings: Settings, engine: Engine) -> Litestar:
    """The gateway over an engine that is alive while the app is. `app.state.services` holds it."""
    services = _make_services(settings, engine)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        services.catalog.start()
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
            OllamaController,
            OllamaChatController,
            AnthropicController,
            TokenController,
            HealthController,
            MetricsController,
            OpenApiController,
        ],
        lifespan=[lifespan],
        state=State({"services": services}),
        exception_handlers={Exception: error_response},
        request_max_body_size=settings.limits.body_bytes,
        openapi_config=None,
        logging_config=None,
    )
    app.asgi_handler = Edge(app.asgi_handler, Origins(settings))
    return app


def _make_services(settings: Settings, engine: Engine) -> Services:
    check_devices(settings, engine)
    check_presets(settings.presets)
    templates = {name: _read_template(path) for name, path in settings.chat_templates.items()}
    catalog = Catalog(
        settings.models_dir,
        engine,
        settings.aliases,
        templates,
        settings=settings.model,
        presets=settings.presets,
        mentioned=[name for group in settings.groups for name in group.models],
    )
    pool = Pool(engine, limits_of(settings))
    events = Events(lambda: {model.id: pool.status(model.key) for model in catalog.models})
    pool.observe(events)
    catalog.when_scanned = lambda: pool.regroup(groups_of(settings, catalog))
    registry = make_registry(engine, pool)
    store = make_store(settings.store)
    return Services(settings, engine, catalog, pool, events, registry, store)


def _read_template(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"chat_templates: {path}: {error}") from None
    if len(text) > MAX_TEMPLATE_BYTES:
        raise SettingsError(f"chat_templates: {path}: more than {MAX_TEMPLATE_BYTES} bytes")
    return text


class Server(uvicorn.Server):
    """Drains on the first signal, ends at once on the second, and says when it listens."""

    def __init__(
        self, app: Litestar, settings: Settings, on_ready: Callable[[State], None] | None = None
    ) -> None:
        super().__init__(_uvicorn_config(app, settings))
        self._state = app.state
        self._services: Services = app.state.services
        self._on_ready = on_ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The inherited one would end the process by the signal once more, after a clean shutdown.

        Runs between any two instructions of the loop's thread, so it only leaves word.
        """
        del frame
        asyncio.get_running_loop().call_soon_threadsafe(self._stop, sig)

    def _stop(self, sig: int) -> None:
        log.info("stopping", signal=sig, at_once=self.should_exit)
        if self.should_exit:
            self._end()
        self.should_exit = True
        self._services.is_draining = True
        self._services.events.close()  # they would outlast any grace

    def _end(self) -> None:
        """Streams get their error event; what does not end by itself then is left behind."""
        self._services.cut()
        asyncio.get_running_loop().call_later(END_SECONDS, setattr, self, "force_exit", True)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        grace_seconds = self._services.settings.limits.shutdown_seconds
        cut = asyncio.get_running_loop().call_later(grace_seconds, self._services.cut)
        await super().shutdown(sockets)
        cut.cancel()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self._state.address = (host, port)
            log.info("listening", host=host, port=port)
            if self._on_ready:
                self._on_ready(self._state)


def _uvicorn_config(app: Litestar, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol_of(settings.limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.limits.shutdown_seconds + END_SECONDS),
    )


def serve(settings: Settings, on_ready: Callable[[State], None] | None = None) -> None:
    """Starts the engine and answers until a signal comes. Blocks.

    on_ready: called once the port is bound, with `services` and `address` (host, port). Raises
    `EngineError` if the engine does not start, `SettingsError` for settings that cannot be used.
    """
    import uvloop

    uvloop.run(_serve(settings, on_ready))


async def _serve(settings: Settings, on_ready: Callable[[State], None] | None) -> None:
    from engine.client import LocalEngine

    devices = devices_of(settings)
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
        await Server(app, settings, on_ready).serve()
    finally:
        await asyncio.shield(engine.stop())
