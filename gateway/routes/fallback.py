"""Another model's answer, where the one that was asked for cannot be served."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog

from engine.api import EngineError
from gateway import errors
from gateway.keys import visit
from gateway.log import note
from gateway.routes.naming import fallback_of
from gateway.routes.services import Services

Answer = Callable[[str], AsyncGenerator[bytes, None]]

_UNSERVED = (
    errors.ModelNotFound,
    errors.ModelLoadFailed,
    errors.ModelNotLoaded,
    errors.ModelTooLarge,
    errors.PinnedModelsInTheWay,
    errors.QueueFull,
    errors.ModelNotReady,
    errors.UpstreamFailed,
)
_LOST = frozenset({"bad_checkpoint", "out_of_memory", "worker_lost", "text_lost", "internal"})

log = structlog.get_logger()


def is_unserved(error: Exception) -> bool:
    """Whether it is the server's doing or its model's, and another model may do better."""
    if isinstance(error, EngineError):
        return error.code in _LOST
    return isinstance(error, _UNSERVED)


def with_fallback(services: Services, name: str, answer: Answer) -> AsyncGenerator[bytes, None]:
    """What `answer` gives for the name, or for the fallback that the settings name for it."""
    if fallback_of(services, name) is None:
        return answer(name)
    return _in_turn(services, name, answer)


async def _in_turn(services: Services, name: str, answer: Answer) -> AsyncGenerator[bytes, None]:
    """Nobody is asked twice, and nobody else once there is a first piece.

    A fallback that is not there is not told of.
    """
    asked = {name.casefold()}
    before: Exception | None = None
    while True:
        has_begun = False
        try:
            async with aclosing(answer(name)) as pieces:
                async for piece in pieces:
                    has_begun = True
                    yield piece
        except (errors.GatewayError, EngineError) as error:
            if before and isinstance(error, errors.ModelNotFound):
                raise before from error
            fallback = fallback_of(services, name)
            if has_begun or not is_unserved(error) or not fallback:
                raise
            if fallback.casefold() in asked or not visit().key.allows(fallback):
                raise
            log.warning("fell_back", model=name, to=fallback, reason=error.message)
            note(fell_back_from=name)
            name, before = fallback, error
            asked.add(name.casefold())
        else:
            return
