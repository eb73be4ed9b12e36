import asyncio

from gateway.pool.errors import PoolError


class Holder:
    """The task that waits for a lease and uses it, so that a lease can be ended from outside.

    As `asyncio.timeout` does it: the task is cancelled, and the cancellation becomes an error where
    the lease ends.
    """

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a lease is used by a task"
        self._task = task
        self._cancelling = task.cancelling()
        self._reason: PoolError | None = None

    def revoke(self, reason: PoolError) -> None:
        if self._reason is None:
            self._reason = reason
            self._task.cancel()

    def verdict(self) -> PoolError | None:
        """What a cancellation meant; None if somebody else wanted it too. Ask once, at the end."""
        if self._reason is None:
            return None
        return self._reason if self._task.uncancel() <= self._cancelling else None
