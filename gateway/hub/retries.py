"""When another try is worth it."""

from collections.abc import Callable
from typing import TypeVar

from gateway.hub.errors import Transient

Answer = TypeVar("Answer")

MAX_TRIES = 6
MAX_PAUSE_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 300.0


class Retries:
    """Counts the tries that brought nothing; each that brought a byte begins the count anew."""

    def __init__(self) -> None:
        self._num_failed = 0

    def succeeded(self) -> None:
        self._num_failed = 0

    def pause_after(self, error: Transient) -> float:
        """Seconds to wait before the next try. Raises `error` when there have been enough."""
        self._num_failed += 1
        asked = error.retry_after_seconds
        if self._num_failed >= MAX_TRIES or (asked or 0) > MAX_RETRY_AFTER_SECONDS:
            raise error
        return min(2.0 ** (self._num_failed - 1), MAX_PAUSE_SECONDS) if asked is None else asked


def patiently(ask: Callable[[], Answer], pause: Callable[[Transient, float], None]) -> Answer:
    """Asks until there is an answer. Raises `Transient` when that was often enough."""
    retries = Retries()
    while True:
        try:
            return ask()
        except Transient as error:
            pause(error, retries.pause_after(error))
