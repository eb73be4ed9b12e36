"""One request to one upstream: what came of it is told to whoever has to know."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from gateway.log import note
from gateway.upstreams.breaker import Breaker
from gateway.upstreams.client import Client
from gateway.upstreams.counters import Counters, Outcome
from gateway.upstreams.directory import Target
from gateway.upstreams.failures import UpstreamFailure

log = structlog.get_logger()


class Attempt:
    """A context that holds a failure back as long as nothing was told: `failure` is it then.

    Otherwise it raises the failure's error. model: by our name.
    """

    def __init__(
        self,
        model: str,
        target: Target,
        client: Client,
        breaker: Breaker,
        *,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self.target = target
        self.client = client
        self.failure: UpstreamFailure | None = None
        self._model = model
        self._breaker = breaker
        self._counters = counters
        self._clock = clock
        self._has_begun = False
        self._request = 0
        self._began_at = 0.0

    def __enter__(self) -> Self:
        note(upstream=self.target.upstream)
        self._began_at = self._clock()
        self._request = self._breaker.begin(self._began_at)
        return self

    def begin(self) -> None:
        """Something of its answer is told: there is no way back to another."""
        if self._has_begun:
            return
        self._has_begun = True
        self._well()
        self._counters.began(self.target, self._clock() - self._began_at)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, UpstreamFailure):
            self._fail(error)
            if self._has_begun:
                raise error.error from error
            return True
        if error is None:
            self.begin()
        elif not self._has_begun:
            self._breaker.leave(self._request)
        self._end("answered" if error is None else "left")
        return False

    def _fail(self, failure: UpstreamFailure) -> None:
        self.failure = failure
        self._end("failed" if failure.is_fault else "refused")
        log.warning(
            "upstream_failed",
            upstream=self.target.upstream,
            model=self._model,
            reason=failure.error.message,
        )
        now = self._clock()
        if failure.rest_seconds:
            self._breaker.rest(now, failure.rest_seconds, self._request)
            self._resting()
        elif failure.is_fault:
            if self._breaker.fail(now, self._request):
                self._resting()
        elif failure.verdict == "final":
            self._well()  # it answered, though not as the client would have it
        else:
            self._breaker.leave(self._request)

    def _well(self) -> None:
        self._breaker.succeed()
        self._counters.rests(self._model, self.target, is_resting=False)

    def _resting(self) -> None:
        seconds = self._breaker.wait_seconds(self._clock())
        self._counters.rests(self._model, self.target, is_resting=True)
        log.warning(
            "upstream_rests",
            upstream=self.target.upstream,
            model=self._model,
            seconds=round(seconds, 1),
        )

    def _end(self, outcome: Outcome) -> None:
        self._counters.ended(self._model, self.target, outcome)
