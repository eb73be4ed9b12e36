"""Waits of bounded length, thousands a second, whose bound is hardly ever reached."""

import asyncio


class Patience:
    """One waits at a time, until somebody ends it or it has taken too long.

    One timer serves all waits: it finds out when it rings whether the one that set it is long over,
    and goes on. `asyncio.timeout` sets and cancels one for each, which costs more than sending a token.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._deadline = self._rings_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, seconds: float) -> None:
        """Returns when `end` is called, or after `seconds`."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._deadline < self._rings_at:
            self._set_timer()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def end(self) -> None:
        """Ends the wait, if there is one."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Ends the wait; there will be no other."""
        self.end()
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._deadline
        self._timer = self._loop.call_at(self._rings_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return  # the next wait sets it again
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self.end()
