"""Statistics of repeated measurements, and tables of them. No clock, no processes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """What repeated measurements gave: nothing is discarded."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Raises `ValueError` for no values."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f"{rounded(self.median)} ({rounded(self.low)} - {rounded(self.high)})"


def rounded(value: float) -> str:
    """Three digits that count, and no more than a benchmark is good for."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: what disturbs a whole round disturbs both."""
    return [our / their for our, their in zip(ours, theirs, strict=True) if their]


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least so many percent do not exceed; NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def rate_together(times: Mapping[int, Sequence[float]]) -> float:
    """Tokens per second while all sequences decode; times: when each token of each one came.

    The window opens when the last sequence has its first token and shuts when the first one has
    its last: prefills before it and smaller batches after it are left out.
    """
    opened = max(came[0] for came in times.values())
    shut = min(came[-1] for came in times.values())
    if shut <= opened:
        raise ValueError("the sequences were never all decoding at once")
    counted = sum(opened < moment <= shut for came in times.values() for moment in came)
    return counted / (shut - opened)


def weight_bytes_per_token(sizes: Mapping[str, int], used_experts: float = 1.0) -> int:
    """Bytes of weights that decoding one token must read; sizes: of each tensor of a GGUF.

    An embedding counts where it is the output matrix as well, else a row of it is nothing.
    used_experts: the fraction of experts that a token uses.
    """
    is_tied = "output.weight" not in sizes
    return round(
        sum(
            size * (used_experts if "_exps." in name else 1)
            for name, size in sizes.items()
            if is_tied or name != "token_embd.weight"
        )
    )


def markdown(rows: Sequence[Row]) -> str:
    """A table with the columns of the first row; a cell that a later row lacks stays empty."""
    columns = list(rows[0])
    lines = [_line(columns), _line(["---"] * len(columns))]
    lines += [_line([str(row.get(column, "")) for column in columns]) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
