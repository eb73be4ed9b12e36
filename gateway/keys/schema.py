"""The file of `roundhouse key`, in SQLite: keys, and what they used."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.keys.errors import KeysError

VERSION = 1
BUSY_SECONDS = 2.0

_TABLES = """
CREATE TABLE key (
    digest TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at REAL NOT NULL,
    rights BLOB NOT NULL
) STRICT;
CREATE TABLE use (
    key_id TEXT NOT NULL,
    day TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Opens or makes the file, which its owner alone may read. Raises `KeysError`."""
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            # never of a file that is open: to close it would give up SQLite's locks, all of a
            # process at once, and others would take away the log that this one still reads
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        _prepare(connection, path)
    except (OSError, sqlite3.Error, KeysError) as error:
        if connection is not None:
            connection.close()
        raise error if isinstance(error, KeysError) else KeysError(f"{path}: {error}") from None
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    in_transaction(connection, lambda: _migrate(connection, path))


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Within a transaction, since another process may be at it too."""
    with closing(connection.execute("PRAGMA user_version")) as rows:
        (version,) = rows.fetchone()
    if version not in (0, VERSION):
        raise KeysError(f"{path}: keys of version {version}; this one knows version {VERSION}")
    if version == 0:
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")


def in_transaction(connection: sqlite3.Connection, work: Callable[[], None]) -> None:
    """All of it or nothing; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        work()
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
