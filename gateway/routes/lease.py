"""The pool, with its refusals in the gateway's words."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway import errors
from gateway.catalog.models import KnownModel
from gateway.keys import visit
from gateway.pool import Lease, Pool, PoolModel, Terms, TooLarge
from gateway.pool import errors as pool_errors
from gateway.pool.status import ModelState

_CLASSES: dict[type[pool_errors.PoolError], type[errors.GatewayError]] = {
    pool_errors.TooLargeForDevice: errors.ModelTooLarge,
    pool_errors.PinnedModelsInTheWay: errors.PinnedModelsInTheWay,
    pool_errors.ModelUnloaded: errors.ModelUnloaded,
    pool_errors.QueueFull: errors.QueueFull,
    pool_errors.WaitExceeded: errors.ModelNotReady,
    pool_errors.PoolClosed: errors.ShuttingDown,
}

_COMING: frozenset[ModelState] = frozenset({"loading", "loaded"})
"""In memory, or on its way there for somebody else."""


@asynccontextmanager
async def leased(
    pool: Pool, model: KnownModel, keep_alive: float | None = None
) -> AsyncIterator[Lease]:
    """Waits until the model may be used, and holds it for the block. Raises a `GatewayError`."""
    _refuse_swap(pool, model)
    priority = model.preset.priority if model.preset else None
    try:
        async with pool.lease(
            pool_model(model), keep_alive=keep_alive, priority=priority or 0
        ) as lease:
            yield lease
    except pool_errors.PoolError as error:
        raise refusal_of(error) from error


def _refuse_swap(pool: Pool, model: KnownModel) -> None:
    """Nothing happens between this and the pool's own look, so what is here now is here then."""
    if visit().key.may_swap or pool.status(model.key).state in _COMING:
        return
    visit().refused("swap")
    raise errors.SwapNotAllowed(
        f"The model {model.id!r} is not in memory, and this key may not have one brought there.",
        "model",
    )


def served_context(pool: Pool, model: KnownModel) -> int:
    """Tokens that a prompt and its completion may fill. Raises `ModelTooLarge`."""
    fit = pool.fit(model.card, terms_of(model), model.key)
    if isinstance(fit, TooLarge):
        error = pool_errors.TooLargeForDevice(model.id, fit.needed, fit.available)
        raise refusal_of(error)
    return promised(model, fit.placement.kv_tokens)


def promised(model: KnownModel, kv_tokens: int) -> int:
    """A preset may promise less than its model, whose cache it shares; never more."""
    least = model.preset.context if model.preset else None
    return min(kv_tokens, least or kv_tokens)


def pool_model(model: KnownModel) -> PoolModel:
    return PoolModel(
        *(model.key, model.card, model.card.path, model.root, terms_of(model)),
        dtype=model.dtype,
        kv_dtype=model.kv_dtype,
    )


def terms_of(model: KnownModel) -> Terms:
    """What the operator says of the model, whichever preset it is asked by."""
    settings = model.settings
    stays = settings.keep_alive is None or math.isinf(settings.keep_alive)
    return Terms(
        pinned=settings.pin,
        keep_alive_seconds=None if stays else settings.keep_alive,
        priority=settings.priority or 0,
        devices=tuple(settings.devices),
        tensor_parallel=settings.tensor_parallel,
        max_context=settings.context,
    )


def refusal_of(error: pool_errors.PoolError) -> errors.GatewayError:
    kind: type[errors.GatewayError]
    if isinstance(error, pool_errors.LoadFailedError):
        is_lasting = error.code == "bad_checkpoint"
        kind = errors.ModelLoadFailed if is_lasting else errors.ModelNotLoaded
    else:
        kind = _CLASSES[type(error)]
    retry_after = None if kind.heals is False else error.retry_after_seconds
    message = error.message[:1].upper() + error.message[1:]
    return kind(f"{message}.", retry_after_seconds=retry_after)
