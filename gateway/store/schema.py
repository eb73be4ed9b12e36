"""The store's file, in SQLite: responses, and which of them holds an item."""

import os
import sqlite3
from contextlib import closing

VERSION = 2
MEMORY = ":memory:"

_TABLE = """
CREATE TABLE response (
    id TEXT PRIMARY KEY,
    previous_id TEXT,
    used_at REAL NOT NULL,
    num_bytes INTEGER NOT NULL,
    response BLOB NOT NULL,
    items BLOB NOT NULL,
    events BLOB,
    owner TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX response_used_at ON response (used_at);
"""
# clients make ids of items up, so that only one owner's are unique
_ITEMS = """
CREATE TABLE item (
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    response_id TEXT NOT NULL REFERENCES response (id) ON DELETE CASCADE,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE INDEX item_response_id ON item (response_id);
"""
_FROM_1 = f"""
ALTER TABLE response ADD COLUMN owner TEXT NOT NULL DEFAULT '';
DROP INDEX item_response_id;
ALTER TABLE item RENAME TO item_1;
{_ITEMS}
INSERT INTO item SELECT id, '', response_id FROM item_1;
DROP TABLE item_1;
"""  # noqa: S608  # from the constant above
_STEPS = {0: _TABLE + _ITEMS, 1: _FROM_1}
"""By the version that is found: what makes it this one."""


class StoreError(Exception):
    """The file cannot be used, or is not ours."""


def connect(path: str) -> sqlite3.Connection:
    """Opens or makes the file, which its owner alone may read: it holds what people said.

    Raises `StoreError`.
    """
    try:
        if path != MEMORY:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        # one thread at a time uses it, not always the same one
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        _prepare(connection)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}") from None
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    with closing(connection.execute("PRAGMA user_version")) as rows:
        (version,) = rows.fetchone()
    if version == VERSION:
        return
    if version not in _STEPS:
        raise StoreError(f"a store of version {version}; this server knows version {VERSION}")
    step = _STEPS[version]
    connection.executescript(f"BEGIN; {step} PRAGMA user_version = {VERSION}; COMMIT;")
