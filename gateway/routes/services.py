"""What the controllers work with. The composition root makes one and puts it in `app.state`."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from litestar import Request
from prometheus_client import CollectorRegistry

from engine.api import Engine
from gateway.catalog.catalog import Catalog
from gateway.config import Settings
from gateway.events import Events
from gateway.pool import Pool
from gateway.store import ResponseStore

if TYPE_CHECKING:
    from gateway.routes.detached import Detached


@dataclass(eq=False)
class Services:
    """is_draining: the server takes its leave, so nobody should send it new requests.

    registry: of this app's metrics alone. detached: responses that are made in the background.
    """

    settings: Settings
    engine: Engine
    catalog: Catalog
    pool: Pool
    events: Events
    registry: CollectorRegistry
    store: ResponseStore
    is_draining: bool = False
    answering: set[asyncio.Task[None]] = field(default_factory=set)
    preloading: set[asyncio.Task[Any]] = field(default_factory=set)
    detached: "dict[str, Detached]" = field(default_factory=dict)

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
        await self.catalog.stop()
        await self.pool.close()
        await self.store.close()


def services_of(request: Request[Any, Any, Any]) -> Services:
    services: Services = request.app.state.services
    return services
