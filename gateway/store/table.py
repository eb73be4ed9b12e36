"""What the store does, in SQL. Blocks; `ResponseStore` calls it from a thread of its own."""

import sqlite3
from collections.abc import Callable, Sequence

from msgspec import Struct

_COLUMNS = "response.id, previous_id, response, items, events, response.owner"
_NEWEST_THAT_FIT = """
DELETE FROM response WHERE id NOT IN (
    SELECT id FROM (
        SELECT id, SUM(num_bytes) OVER (ORDER BY used_at DESC, rowid DESC) AS total FROM response
    ) WHERE total <= ?
) RETURNING num_bytes
"""


class Kept(Struct, frozen=True):
    """A response as JSON, the items of its request as JSON, and its events as they were sent.

    previous_id: of the response whose conversation it goes on with. events: None unless they may be
    asked for again. owner: whose it is; nobody else finds it. Empty for those who have no key.
    """

    id: str
    previous_id: str | None
    response: bytes
    items: bytes
    events: bytes | None = None
    owner: str = ""

    @property
    def num_bytes(self) -> int:
        return len(self.response) + len(self.items) + len(self.events or b"")


class Table:
    """Bounded in time since the last use, and in bytes: then the longest unused goes first."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        ttl_seconds: float,
        max_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._db = connection
        self._ttl_seconds = ttl_seconds
        self._max_bytes = max_bytes
        self._clock = clock
        sql = "SELECT COALESCE(SUM(num_bytes), 0) FROM response"
        (self.num_bytes,) = self._db.execute(sql).fetchone()

    def put(self, kept: Kept, item_ids: Sequence[str]) -> None:
        """item_ids: of its items and its output. Of equal ids the newest counts."""
        row = (kept.id, kept.previous_id, self._clock(), kept.num_bytes)
        with self._db:
            self._db.execute("BEGIN")
            self._db.execute(
                "INSERT INTO response VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, kept.response, kept.items, kept.events, kept.owner),
            )
            ids = [(item_id, kept.owner, kept.id) for item_id in item_ids]
            self._db.executemany("INSERT OR REPLACE INTO item VALUES (?, ?, ?)", ids)
        self.num_bytes += kept.num_bytes
        self._prune()

    def get(self, response_id: str, owner: str) -> Kept | None:
        sql = f"SELECT {_COLUMNS} FROM response WHERE id = ?"  # noqa: S608
        return self._find(sql, response_id, owner)

    def holder(self, item_id: str, owner: str) -> Kept | None:
        """The response that has an item of that id."""
        sql = f"SELECT {_COLUMNS} FROM item JOIN response ON response_id = response.id"  # noqa: S608
        return self._find(f"{sql} WHERE item.id = ?", item_id, owner)

    def delete(self, response_id: str, owner: str) -> bool:
        found = self.get(response_id, owner) is not None
        sql = "DELETE FROM response WHERE id = ? AND owner = ? RETURNING num_bytes"
        self._remove(sql, response_id, owner)
        return found

    def chain(self, response_id: str, owner: str) -> list[Kept] | None:
        """The response and all before it, the first one first; None if any of them is gone.

        Using the last one uses them all, so that none of them goes before it.
        """
        chain: list[Kept] = []
        place: str | None = response_id
        while place is not None:
            kept = self.get(place, owner)
            if kept is None:
                return None
            chain.append(kept)
            place = kept.previous_id
        now = self._clock()
        ids = [(now, kept.id) for kept in chain]
        self._db.executemany("UPDATE response SET used_at = ? WHERE id = ?", ids)
        return chain[::-1]

    def close(self) -> None:
        self._db.close()

    @property
    def _oldest(self) -> float:
        return self._clock() - self._ttl_seconds

    def _find(self, sql: str, key: str, owner: str) -> Kept | None:
        values = (key, owner, self._oldest)
        sql = f"{sql} AND response.owner = ? AND used_at >= ?"
        row = self._db.execute(sql, values).fetchone()
        return Kept(*row) if row else None

    def _prune(self) -> None:
        self._remove("DELETE FROM response WHERE used_at < ? RETURNING num_bytes", self._oldest)
        if self.num_bytes > self._max_bytes:
            self._remove(_NEWEST_THAT_FIT, self._max_bytes)

    def _remove(self, sql: str, *values: str | float) -> None:
        self.num_bytes -= sum(n for (n,) in self._db.execute(sql, values).fetchall())
