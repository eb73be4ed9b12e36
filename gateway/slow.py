"""The log of requests that took long: where their time went."""

from collections.abc import Callable

import structlog

from gateway.journey import Journey

log = structlog.get_logger()


class SlowLog:
    """A `JourneyObserver`. slow_seconds: says from when on a request is told of; 0 for none."""

    def __init__(self, slow_seconds: Callable[[], float]) -> None:
        self._slow_seconds = slow_seconds

    def begun(self, journey: Journey) -> None:
        """Nobody knows yet how long it takes."""

    def ended(self, journey: Journey) -> None:
        slow_seconds = self._slow_seconds()
        if not slow_seconds or journey.seconds < slow_seconds:
            return
        parts = {f"{name}_seconds": round(value, 3) for name, value in journey.parts().items()}
        log.warning(
            "slow_request",
            operation=journey.operation,
            model=journey.model,
            seconds=round(journey.seconds, 3),
            **parts,
            loads=len(journey.loads),
            prompt_tokens=journey.prompt_tokens,
            completion_tokens=journey.completion_tokens,
            **({} if journey.error is None else {"error_code": journey.error}),
        )
