"""What the controllers work with. The composition root makes one and puts it in `app.state`."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from litestar import Request
from prometheus_client import CollectorRegistry

from engine.api import Engine
from gateway.catalog.catalog import Catalog
from gateway.catalog.models import KnownModel
from gateway.config import Settings
from gateway.errors import ModelNotFound
from gateway.events import Events
from gateway.hub.pulls import Pulls
from gateway.journeys import Journeys
from gateway.keys import Gate, visit
from gateway.metrics import Metrics
from gateway.pool import Pool
from gateway.store import ResponseStore
from gateway.upstreams import Upstreams

if TYPE_CHECKING:
    from gateway.routes.detached import Detached
    from gateway.tracing.telemetry import Telemetry


@dataclass(eq=False)
class Services:
    """is_draining: the server takes its leave, so nobody should send it new requests.

    registry: of this app's metrics alone. detached: responses that are made in the background.
    settings: as they are now; who copies any of them listens with `when_reloaded`.
    """

    settings: Settings
    engine: Engine
    catalog: Catalog
    pool: Pool
    events: Events
    registry: CollectorRegistry
    store: ResponseStore
    upstreams: Upstreams
    gate: Gate
    metrics: Metrics
    journeys: Journeys
    telemetry: "Telemetry | None" = None
    pulls: Pulls = field(init=False)
    when_reloaded: list[Callable[[Settings], None]] = field(default_factory=list)
    is_draining: bool = False
    answering: set[asyncio.Task[None]] = field(default_factory=set)
    preloading: set[asyncio.Task[Any]] = field(default_factory=set)
    detached: "dict[str, Detached]" = field(default_factory=dict)

    @property
    def models(self) -> list[KnownModel]:
        """Those of the catalog that the request's key may use."""
        key = visit().key
        return [model for model in self.catalog.models if key.allows(*model.names)]

    async def resolve(self, name: str) -> KnownModel:
        """As `Catalog.resolve`; what the request's key may not use is not there for it."""
        key = visit().key
        try:
            model = await self.catalog.resolve(name)
        except ModelNotFound:
            if "*" in key.models:
                raise
            raise ModelNotFound(name) from None  # without the names that it could be
        return self.permit(model, name)

    @staticmethod
    def permit(model: KnownModel, name: str) -> KnownModel:
        """The model that `name` led to, if the request's key may use it; else raises `ModelNotFound`."""
        if visit().key.allows(*model.names):
            return model
        visit().refused("model")
        raise ModelNotFound(name)

    def cut(self) -> None:
        """Ends every reply that is being made with an error."""
        for task in self.answering:
            task.cancel()

    async def close(self) -> None:
        """Cuts what is still being answered, and lets go of everything else."""
        self.cut()
        self.events.close()
        for task in self.preloading:
            task.cancel()
        await asyncio.gather(*self.answering, *self.preloading, return_exceptions=True)
        await self.pulls.close()
        await self.catalog.stop()
        await self.pool.close()
        await self.upstreams.close()
        await self.store.close()
        await self.gate.close()
        if self.telemetry is not None:
            await asyncio.to_thread(self.telemetry.close)


def services_of(request: Request[Any, Any, Any]) -> Services:
    services: Services = request.app.state.services
    return services
