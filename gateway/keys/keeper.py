"""Keeps the book of what was used in the database, in a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from gateway.keys.errors import KeysError
from gateway.keys.table import Table
from gateway.keys.use import Book, Uses

WRITE_SECONDS = 2.0
"""What was used in so long may be forgotten by a crash."""

log = structlog.get_logger()


class Keeper:
    """path: of the database, which is made when there is something to keep; None keeps nothing.

    Whatever the file refuses costs the memory of it, and no request: it is tried again.
    """

    def __init__(self, path: Path | None, date: Callable[[], float]) -> None:
        self.book = Book()
        self._path = path
        self._date = date
        self._table: Table | None = None
        self._thread = ThreadPoolExecutor(1, "key-use")
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        if path is not None and path.is_file():
            self.book.written(self._read())

    def wake(self) -> None:
        """There is something to write, soon."""
        if self._path is not None and self._timer is None and self.book.has_pending:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._begin)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await self._writing
        if self._path is not None and self.book.has_pending:
            await self._write()
        self._thread.shutdown()
        if self._table is not None:
            self._table.close()

    def _begin(self) -> None:
        self._timer = None
        self._writing = asyncio.get_running_loop().create_task(self._write(), name="key-use")

    async def _write(self) -> None:
        uses, now = self.book.take(), self._date()
        loop = asyncio.get_running_loop()
        try:
            known = await loop.run_in_executor(self._thread, self._add, uses, now)
        except KeysError as error:
            log.warning("key_use_not_kept", reason=str(error))
            self.book.failed()
        else:
            self.book.written(known)

    def _add(self, uses: Uses, now: float) -> Uses:
        return self._opened().add_use(uses, now)

    def _read(self) -> Uses:
        return self._opened().use(self._date())

    def _opened(self) -> Table:
        if self._table is None:
            assert self._path is not None
            self._table = Table(self._path)
        return self._table
