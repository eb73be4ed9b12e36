"""The store as the event loop sees it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gateway.store.schema import StoreError, connect
from gateway.store.table import Kept, Table

Result = TypeVar("Result")


class ResponseStore:
    """Keeps responses in a file, or in memory for as long as the server runs.

    Whoever asks says who they are, as `Kept.owner`, and finds what is theirs. One thread does all its work, in order: what was kept is found by whoever asks afterwards. Opens
    the file at once. Whatever the file refuses, then or later, is a `StoreError`.
    """

    def __init__(
        self,
        path: str,
        ttl_seconds: float,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = Table(connect(path), ttl_seconds, max_bytes, clock)
        self._thread = ThreadPoolExecutor(1, "response-store")

    async def put(self, kept: Kept, item_ids: Sequence[str] = ()) -> None:
        """item_ids: of its items and its output, by which it is found as well."""
        await self._call(lambda: self._table.put(kept, item_ids))

    async def get(self, response_id: str, owner: str = "") -> Kept | None:
        return await self._call(lambda: self._table.get(response_id, owner))

    async def holder(self, item_id: str, owner: str = "") -> Kept | None:
        """The response that has an item of that id."""
        return await self._call(lambda: self._table.holder(item_id, owner))

    async def delete(self, response_id: str, owner: str = "") -> bool:
        """Whether it was there."""
        return await self._call(lambda: self._table.delete(response_id, owner))

    async def chain(self, response_id: str, owner: str = "") -> list[Kept] | None:
        """The response and all before it, the first one first; None if any of them is gone."""
        return await self._call(lambda: self._table.chain(response_id, owner))

    async def close(self) -> None:
        await self._call(self._table.close)
        self._thread.shutdown()

    async def _call(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error
