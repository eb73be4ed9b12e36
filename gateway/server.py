"""The server around the app: it starts, takes its leave, and hears of changed settings."""

import asyncio
import signal
import ssl
from collections.abc import Callable
from socket import socket
from types import FrameType

import structlog
import uvicorn
from litestar import Litestar
from litestar.datastructures import State

from gateway.config import Settings
from gateway.config.source import Source
from gateway.connections import Certificate, protocol_of
from gateway.reload import Reloader
from gateway.routes.services import Services

END_SECONDS = 1.0
"""How long replies that were cut may take to say so."""

log = structlog.get_logger()


class Server(uvicorn.Server):
    """Drains on the first signal, ends at once on the second, and says when it listens.

    While it drains it still listens, so that whoever asks is told why it is not answered. source:
    where settings are read again, on SIGHUP and when their files change.
    """

    def __init__(
        self,
        app: Litestar,
        settings: Settings,
        on_ready: Callable[[State], None] | None = None,
        source: Source | None = None,
    ) -> None:
        self._state = app.state
        self._services: Services = app.state.services
        super().__init__(_uvicorn_config(app, settings, self._services))
        self._on_ready = on_ready
        self._reloader = Reloader(self._services, source) if source else None
        self._tasks: list[asyncio.Task[None]] = []
        self._ends_at: float | None = None

    # --- taking leave -------------------------------------------------------------------------------

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The inherited one would end the process by the signal once more, after a clean shutdown.

        Runs between any two instructions of the loop's thread, so it only leaves word.
        """
        del frame
        asyncio.get_running_loop().call_soon_threadsafe(self._stop, sig)

    def _stop(self, sig: int) -> None:
        log.info("stopping", signal=sig, at_once=self._services.is_draining)
        if self._services.is_draining:
            self._end()
            return
        self._services.is_draining = True
        self._close_connections()
        self._services.events.close()  # they would outlast any grace
        self._ends_at = self._now() + self._services.settings.limits.shutdown_seconds
        self._tasks.append(asyncio.create_task(self._drain(), name="drain"))

    async def _drain(self) -> None:
        """Until nothing is being answered, or the grace is over."""
        while (answering := self._services.answering) and self._grace() > 0:
            await asyncio.wait(answering, timeout=self._grace())
        self.should_exit = True

    def _close_connections(self) -> None:
        """Each with its next answer: clients then look for another server."""
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # which uvicorn takes anew every second
        self.server_state.default_headers = [*self.server_state.default_headers, close]

    def _end(self) -> None:
        """Streams get their error event; what does not end by itself then is left behind."""
        self.should_exit = True
        self._services.cut()
        asyncio.get_running_loop().call_later(END_SECONDS, setattr, self, "force_exit", True)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        if self._ends_at is None:
            self._ends_at = self._now() + self._services.settings.limits.shutdown_seconds
        cut = asyncio.get_running_loop().call_later(self._grace(), self._services.cut)
        self.config.timeout_graceful_shutdown = self._grace() + END_SECONDS  # type: ignore[assignment]  # any number will do
        await super().shutdown(sockets)
        cut.cancel()
        for task in self._tasks:
            task.cancel()

    def _grace(self) -> float:
        """Seconds that what is being answered still has."""
        assert self._ends_at is not None, "nobody asked for an end"
        return max(0.0, self._ends_at - self._now())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # --- starting -----------------------------------------------------------------------------------

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port, *_ = self.servers[0].sockets[0].getsockname()
            self._state.address = (host, port)
            log.info("listening", host=host, port=port)
            self._watch_settings()
            if self._on_ready:
                self._on_ready(self._state)

    def _watch_settings(self) -> None:
        if self._reloader is not None:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self._reloader.request)
            self._tasks.append(loop.create_task(self._reloader.run(), name="reload"))


def _uvicorn_config(app: Litestar, settings: Settings, services: Services) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol_of(lambda: services.settings.limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=_tls_of(settings),
    )


def _tls_of(settings: Settings) -> Callable[..., ssl.SSLContext] | None:
    if settings.tls is None:
        return None
    certificate = Certificate(settings.tls)
    return lambda *_: certificate.context
