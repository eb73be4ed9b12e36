"""How much more a key may ask for now."""

from dataclasses import dataclass
from typing import Literal

from gateway.keys.bucket import Bucket
from gateway.keys.key import Rights
from gateway.keys.use import Book, seconds_to_next

Limit = Literal["requests", "tokens", "concurrency", "budget"]


@dataclass(frozen=True, slots=True)
class Exceeded:
    """limit: which, of how much. retry_after_seconds: when to ask again, where that can be known."""

    limit: Limit
    amount: float
    what: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """now: of a clock that never goes back. date: seconds since 1970."""

    now: float
    date: float


class Account:
    """One key's rates, its requests under way, and its use of budgets. Holds no clock.

    What a request costs in tokens and in seconds is known when it has been computed: whoever has
    anything left is let in, and what is overdrawn by that is waited for afterwards.
    """

    def __init__(self, key_id: str, rights: Rights, book: Book, now: float) -> None:
        self._key_id = key_id
        self._book = book
        self.rights = rights
        self.num_requests = 0
        self.requests = _bucket(rights.requests_per_minute, now)
        self.tokens = _bucket(rights.tokens_per_minute, now)

    def adjust(self, rights: Rights, now: float) -> None:
        """The key is good for something else from now on."""
        self.requests = _resized(self.requests, rights.requests_per_minute, now)
        self.tokens = _resized(self.tokens, rights.tokens_per_minute, now)
        self.rights = rights

    def enter(self, moment: Moment) -> Exceeded | None:
        """Lets a request in, which is to `leave`, or says why not; then nothing is counted."""
        if exceeded := self._exceeded(moment):
            return exceeded
        self.num_requests += 1
        if self.requests:
            self.requests.take(1, moment.now)
        return None

    def leave(self) -> None:
        assert self.num_requests, "nobody is there to leave"
        self.num_requests -= 1

    def spend_tokens(self, count: int, now: float) -> None:
        if self.tokens:
            self.tokens.take(count, now)

    def spend_seconds(self, seconds: float, date: float) -> None:
        if self.rights.has_budget:
            self._book.add(self._key_id, seconds, date)

    def _exceeded(self, moment: Moment) -> Exceeded | None:
        rights, now = self.rights, moment.now
        if rights.concurrency is not None and self.num_requests >= rights.concurrency:
            return Exceeded("concurrency", rights.concurrency, "requests at once", 1)
        if self.requests and (wait := self.requests.wait_seconds(1, now)):
            return Exceeded("requests", self.requests.per_minute, "requests per minute", wait)
        if self.tokens and (wait := self.tokens.wait_seconds(1, now)):
            return Exceeded("tokens", self.tokens.per_minute, "tokens per minute", wait)
        return self._over_budget(moment.date) if rights.has_budget else None

    def _over_budget(self, date: float) -> Exceeded | None:
        month, day = self.rights.device_seconds_per_month, self.rights.device_seconds_per_day
        if month is not None and self._book.month(self._key_id, date) >= month:
            wait = seconds_to_next("month", date)
            return Exceeded("budget", month, "seconds of computing per month", wait)
        if day is not None and self._book.today(self._key_id, date) >= day:
            wait = seconds_to_next("day", date)
            return Exceeded("budget", day, "seconds of computing per day", wait)
        return None


def _bucket(per_minute: int | None, now: float) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, now)


def _resized(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if bucket is None or per_minute is None:
        return _bucket(per_minute, now)
    if bucket.per_minute != per_minute:
        bucket.resize(per_minute, now)
    return bucket
