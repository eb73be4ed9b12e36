"""Why the pool did not grant a model. What they mean in HTTP is said in `gateway.errors`."""

import math

from engine.api import ErrorCode
from gateway.pool.actions import (
    CannotFit,
    CannotLoad,
    OnlyPinnedLeft,
    QueueIsFull,
    Refusal,
    Unloaded,
    WaitedTooLong,
)

MAX_RETRY_AFTER_SECONDS = 120


class PoolError(Exception):
    """The pool did not grant a model. `retry_after_seconds`: None where trying again is vain."""

    def __init__(self, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class TooLargeForDevice(PoolError):  # a fact, as in gateway.errors
    """No form of the model can ever fit a device, whatever else is evicted."""

    def __init__(self, model: str, needed: int, available: int) -> None:
        super().__init__(f"model {model!r} needs {needed} bytes, {available} are available")
        self.needed = needed
        self.available = available


class PinnedModelsInTheWay(PoolError):  # a fact, as in gateway.errors
    """The model would fit, but for models that are pinned."""

    def __init__(self, model: str, needed: int, available: int) -> None:
        message = (
            f"model {model!r} needs {needed} bytes, {available} are not taken by pinned models"
        )
        super().__init__(message)
        self.needed = needed
        self.available = available


class ModelUnloaded(PoolError):  # a fact, as in gateway.errors
    """Somebody had the model unloaded by force while the request waited for it or used it."""

    def __init__(self, model: str) -> None:
        super().__init__(f"model {model!r} was unloaded", retry_after_seconds=1)


class QueueFull(PoolError):  # a fact, as in gateway.errors
    """Too many requests wait already, for this model or in all."""

    def __init__(self, model: str, waiting: int, limit: int) -> None:
        message = f"{waiting} requests are waiting already, the limit for {model!r} is {limit}"
        super().__init__(message, retry_after_seconds=5)


class WaitExceeded(PoolError):  # a fact, as in gateway.errors
    """The model could not be made ready within the time that a request may wait."""

    def __init__(self, model: str, seconds: float) -> None:
        super().__init__(f"model {model!r} was not ready within {seconds:g} s", 30)


class LoadFailedError(PoolError):
    """The engine could not load the model; `code` is the engine's."""

    def __init__(self, model: str, code: ErrorCode, reason: str, retry_seconds: float) -> None:
        retry_after = min(MAX_RETRY_AFTER_SECONDS, max(1, math.ceil(retry_seconds)))
        super().__init__(f"model {model!r} could not be loaded: {reason}", retry_after)
        self.code = code
        self.reason = reason


class PoolClosed(PoolError):  # a fact, as in gateway.errors
    """The server is shutting down."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down", retry_after_seconds=10)


def error_of(model: str, refusal: Refusal) -> PoolError:
    match refusal:
        case QueueIsFull(waiting, limit):
            return QueueFull(model, waiting, limit)
        case CannotFit(needed, available):
            return TooLargeForDevice(model, needed, available)
        case OnlyPinnedLeft(needed, available):
            return PinnedModelsInTheWay(model, needed, available)
        case Unloaded():
            return ModelUnloaded(model)
        case WaitedTooLong(seconds):
            return WaitExceeded(model, seconds)
        case CannotLoad(code, message, retry_seconds):
            return LoadFailedError(model, code, message, retry_seconds)
