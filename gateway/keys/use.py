"""What keys used of their budgets, by UTC's days."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

Days = Counter[str]
"""Seconds by day, as 2026-11-23."""
Uses = dict[str, Days]
"""By a key's id."""


def day_of(now: float) -> str:
    """now: seconds since 1970."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


class Book:
    """What was used: as the database last told it, and what it does not know yet."""

    def __init__(self) -> None:
        self._known: Uses = {}
        self._writing: Uses = {}
        self._pending: defaultdict[str, Days] = defaultdict(Counter)

    @property
    def has_pending(self) -> bool:
        return bool(self._pending)

    def add(self, key_id: str, seconds: float, now: float) -> None:
        self._pending[key_id][day_of(now)] += seconds  # type: ignore[assignment]  # no whole ones

    def today(self, key_id: str, now: float) -> float:
        return self._sum(key_id, day_of(now))

    def month(self, key_id: str, now: float) -> float:
        return self._sum(key_id, day_of(now)[:7])

    def take(self) -> Uses:
        """What the database is to add. Until it has `written` that, or `failed`, it counts here."""
        self._writing, self._pending = dict(self._pending), defaultdict(Counter)
        return self._writing

    def written(self, known: Uses) -> None:
        """known: all that the database has, what was taken included."""
        self._known, self._writing = known, {}

    def failed(self) -> None:
        """It is taken again the next time."""
        for key_id, days in self._writing.items():
            self._pending[key_id].update(days)
        self._writing = {}

    def _sum(self, key_id: str, prefix: str) -> float:
        return sum(
            seconds
            for uses in (self._known, self._writing, self._pending)
            for day, seconds in uses.get(key_id, {}).items()
            if day.startswith(prefix)
        )


def seconds_to_next(period: str, now: float) -> float:
    """Until the next day or month begins. period: "day" or "month"."""
    date = datetime.fromtimestamp(now, UTC)
    start = date.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "day":
        return (start + timedelta(days=1)).timestamp() - now
    return (start.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp() - now
