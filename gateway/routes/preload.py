"""Models that are loaded at the start, so that their first request finds them ready."""

import structlog

from engine.api import EngineError
from gateway.errors import GatewayError
from gateway.routes.lease import leased, pool_model
from gateway.routes.services import Services

log = structlog.get_logger()


async def preload_models(services: Services) -> None:
    """Loads those that the settings name, in their order, as far as there is room.

    Nobody makes room for them: neither one that was loaded before nor one that a request came for
    meanwhile. What is not loaded here is loaded at its first request.
    """
    for name, settings in services.settings.model.items():
        if settings.preload:
            await _preload(services, name)


async def _preload(services: Services, name: str) -> None:
    try:
        model = await services.catalog.resolve(name)
        plan = services.pool.plan(pool_model(model))
        if plan.refusal is None and (plan.device is None or plan.victims):
            log.warning("preload_skipped", model=model.id, reasons=plan.reasons)
            return
        async with leased(services.pool, model):
            pass
    except (GatewayError, EngineError) as error:
        log.warning("preload_failed", model=name, reason=error.message)
