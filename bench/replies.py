"""What streaming clients saw, summed up. No clock, no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from figures import Row, percentile, rounded


@dataclass(frozen=True)
class Reply:
    """A streamed completion: when it was asked for, and when each piece of its text came."""

    asked: float
    pieces: list[float]
    num_tokens: int

    @property
    def ttft_seconds(self) -> float:
        return self.pieces[0] - self.asked

    @property
    def gaps_seconds(self) -> list[float]:
        """Between pieces: a token each, except where bytes of a letter had to wait."""
        return [later - earlier for earlier, later in pairwise(self.pieces)]


def summary(replies: Sequence[Reply]) -> Row:
    """The rate counts from the first request to the last piece of all."""
    seconds = max(reply.pieces[-1] for reply in replies) - min(reply.asked for reply in replies)
    ttfts = [reply.ttft_seconds for reply in replies]
    gaps = [gap for reply in replies for gap in reply.gaps_seconds]
    return {
        "requests": len(replies),
        "tok/s": rounded(sum(reply.num_tokens for reply in replies) / seconds),
        "TTFT p50 ms": _in_ms(ttfts, 50),
        "TTFT p99 ms": _in_ms(ttfts, 99),
        "ITL p50 ms": _in_ms(gaps, 50),
        "ITL p99 ms": _in_ms(gaps, 99),
    }


def _in_ms(seconds: Sequence[float], percent: float) -> str:
    return rounded(1000 * percentile(seconds, percent))
