"""One request, and what its key lets it do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from gateway.keys.account import Account
from gateway.keys.key import NOBODY, OURSELVES, Key


class Meter(Protocol):
    """Where a request that has a key with limits puts down what it took."""

    account: Account
    refused: Callable[[str], None]

    def headers(self) -> list[tuple[bytes, bytes]]: ...

    def spend_tokens(self, count: int) -> None: ...

    def use(self, device: str) -> float: ...

    def release(self, device: str, begun: float) -> None: ...


class Visit:
    """Until its key is known it may do nothing. meter: None where nothing is limited.

    It is inside from `entered` until it is `answered` and all that was to `stay` has `left`.
    """

    __slots__ = ("_is_answering", "_num_inside", "key", "meter")

    def __init__(self, key: Key = NOBODY) -> None:
        self.key = key
        self.meter: Meter | None = None
        self._num_inside = 0
        self._is_answering = False

    def entered(self) -> None:
        self._num_inside = 1
        self._is_answering = True

    def answered(self) -> None:
        """Its reply is whole, or nobody waits for it any more; also of one that was not let in."""
        if self._is_answering:
            self._is_answering = False
            self.left()

    def stay(self) -> None:
        """Something of it goes on in the background, and is one of its key's requests until then."""
        self._num_inside += 1

    def left(self) -> None:
        """The reply, or what was to `stay`, has ended."""
        self._num_inside -= 1
        if self.meter is not None and not self._num_inside:
            self.meter.account.leave()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What its reply says of the key's rates."""
        return self.meter.headers() if self.meter is not None else []

    def spend_tokens(self, count: int) -> None:
        if self.meter is not None:
            self.meter.spend_tokens(count)

    def refused(self, reason: str) -> None:
        """It was let in, and may not do this; counted under a word for why."""
        if self.meter is not None:
            self.meter.refused(reason)

    @contextmanager
    def using(self, device: str) -> Iterator[None]:
        """For as long as something of it is computed there."""
        if self.meter is None:
            yield
            return
        begun = self.meter.use(device)
        try:
            yield
        finally:
            self.meter.release(device, begun)


_current: ContextVar[Visit] = ContextVar("visit")
_OURS = Visit(OURSELVES)


def begin_visit() -> Visit:
    """The visit of the request that this task, and those it starts, serve."""
    visit = Visit()
    _current.set(visit)
    return visit


def visit() -> Visit:
    """The one that this task serves; outside of requests one that may do everything."""
    return _current.get(_OURS)
