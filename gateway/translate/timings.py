"""How long an answer took, in llama.cpp's words."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.api import Delta
from engine.api import Usage as EngineUsage
from gateway.llamacpp.timings import Timings

_MS = 1e3


@dataclass(slots=True)
class Stopwatch:
    """Of one reply, from when its model is ready to its last delta. clock: in seconds.

    Deltas need not hold a token each, so tokens are counted by what they say of themselves.
    """

    clock: Callable[[], float] = time.perf_counter
    _began: float = field(init=False)
    _first: float | None = None
    _last: float = field(init=False)
    _num_tokens: int = 0

    def __post_init__(self) -> None:
        self._began = self._last = self.clock()

    def note(self, delta: Delta) -> None:
        self._last = self.clock()
        if self._first is None:
            self._first = self._last
        self._num_tokens += len(delta.token_ids)

    def read(self, num_prompt_tokens: int, usages: Mapping[int, EngineUsage]) -> Timings:
        """Until now. usages: those known so far, by choice; choices share what reads their prompt."""
        first = self._last if self._first is None else self._first
        cached = max((usage.cached_tokens for usage in usages.values()), default=0)
        made = sum(usage.completion_tokens for usage in usages.values()) or self._num_tokens
        read = max(num_prompt_tokens - cached, 0)
        prompt_ms, made_ms = (first - self._began) * _MS, (self._last - first) * _MS
        return Timings(
            cache_n=cached,
            prompt_n=read,
            prompt_ms=round(prompt_ms, 3),
            prompt_per_token_ms=_ratio(prompt_ms, read),
            prompt_per_second=_ratio(read * _MS, prompt_ms),
            predicted_n=made,
            predicted_ms=round(made_ms, 3),
            predicted_per_token_ms=_ratio(made_ms, made),
            predicted_per_second=_ratio(made * _MS, made_ms),
        )


def _ratio(part: float, whole: float) -> float:
    """0 of nothing, which JSON can say."""
    return round(part / whole, 3) if whole else 0.0
