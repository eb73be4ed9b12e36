"""The pool, with its refusals in the gateway's words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import errors
from gateway.catalog.catalog import KnownModel
from gateway.pool import Lease, Pool, PoolModel, TooLarge
from gateway.pool import errors as pool_errors

_CLASSES: dict[type[pool_errors.PoolError], type[errors.GatewayError]] = {
    pool_errors.TooLargeForDevice: errors.ModelTooLarge,
    pool_errors.QueueFull: errors.QueueFull,
    pool_errors.WaitExceeded: errors.ModelNotReady,
    pool_errors.PoolClosed: errors.ShuttingDown,
}


@asynccontextmanager
async def leased(pool: Pool, model: KnownModel) -> AsyncIterator[Lease]:
    """Waits until the model may be used, and holds it for the block. Raises a `GatewayError`."""
    try:
        async with pool.lease(PoolModel(model.key, model.card, model.card.path)) as lease:
            yield lease
    except pool_errors.PoolError as error:
        raise _refusal(error) from error


def served_context(pool: Pool, model: KnownModel) -> int:
    """Tokens that a prompt and its completion may fill. Raises `ModelTooLarge`."""
    fit = pool.fit(model.card)
    if isinstance(fit, TooLarge):
        error = pool_errors.TooLargeForDevice(model.id, fit.needed, fit.available)
        raise _refusal(error)
    return fit.placement.kv_tokens


def _refusal(error: pool_errors.PoolError) -> errors.GatewayError:
    kind: type[errors.GatewayError]
    if isinstance(error, pool_errors.LoadFailedError):
        is_lasting = error.code == "bad_checkpoint"
        kind = errors.ModelLoadFailed if is_lasting else errors.ModelNotLoaded
    else:
        kind = _CLASSES[type(error)]
    retry_after = None if kind.heals is False else error.retry_after_seconds
    message = error.message[:1].upper() + error.message[1:]
    return kind(f"{message}.", retry_after_seconds=retry_after)
