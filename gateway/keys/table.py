"""Keys and their use in SQL. Blocks, though never for long."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.keys.errors import KeysError
from gateway.keys.key import Key, Rights
from gateway.keys.schema import connect, in_transaction
from gateway.keys.use import Uses, day_of

_encode = msgspec.json.Encoder().encode
_ADD = """
INSERT INTO use VALUES (?, ?, ?)
ON CONFLICT (key_id, day) DO UPDATE SET seconds = seconds + excluded.seconds
"""


class Made(Struct, frozen=True):
    """A key, and when it was made: seconds since 1970."""

    key: Key
    created_at: float


class Table:
    """Every method raises `KeysError` for what the file refuses."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path)

    @property
    def version(self) -> int:
        """Another one whenever somebody else has written to the file."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def made(self) -> list[Made]:
        """By when they were made."""
        rows = self._rows("SELECT name, digest, created_at, rights FROM key ORDER BY created_at")
        try:
            return [Made(_key(name, digest, rights), at) for name, digest, at, rights in rows]
        except msgspec.DecodeError as error:  # also written by a later Roundhouse
            raise KeysError(f"{self._path}: {error}") from None

    def add(self, key: Key, now: float) -> None:
        """Raises also for a name that is taken."""
        own = {"name", "digest"}
        rights = {n: getattr(key, n) for n in key.__struct_fields__ if n not in own}
        row = (key.digest, key.name, now, _encode(Rights(**rights)))
        try:
            self._db.execute("INSERT INTO key VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise KeysError(f"there is a key called {key.name!r} already") from None
        except sqlite3.Error as error:
            raise KeysError(f"{self._path}: {error}") from None

    def remove(self, name: str) -> bool:
        """Whether it was there. What it used is remembered until the month is over."""
        return bool(self._rows("DELETE FROM key WHERE name = ? RETURNING name", name))

    def add_use(self, uses: Uses, now: float) -> Uses:
        """Adds to what was used; returns all that was used this month."""
        rows = [(key_id, day, n) for key_id, days in uses.items() for day, n in days.items()]
        try:
            in_transaction(self._db, lambda: self._add(rows, now))
        except sqlite3.Error as error:
            raise KeysError(f"{self._path}: {error}") from None
        return self.use(now)

    def use(self, now: float) -> Uses:
        """Of this month."""
        rows = self._rows("SELECT key_id, day, seconds FROM use WHERE day >= ?", _month(now))
        found: Uses = {}
        for key_id, day, seconds in rows:
            found.setdefault(key_id, Counter())[day] = seconds
        return found

    def close(self) -> None:
        self._db.close()

    def _add(self, rows: Sequence[tuple[str, str, float]], now: float) -> None:
        self._db.executemany(_ADD, rows)
        self._db.execute("DELETE FROM use WHERE day < ?", (_month(now),))

    def _rows(self, sql: str, *values: str) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise KeysError(f"{self._path}: {error}") from None


def _key(name: str, digest: str, rights: bytes) -> Key:
    read = msgspec.json.decode(rights, type=Rights)
    return Key(name=name, digest=digest, **msgspec.structs.asdict(read))


def _month(now: float) -> str:
    return day_of(now)[:7] + "-01"
