"""What is kept, for how long, and what goes first."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import msgspec
import pytest

from gateway.store import MEMORY, Kept, ResponseStore, StoreError


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock):
    """A store of 100 bytes, for 60 seconds."""
    store = ResponseStore(MEMORY, 60, 100, clock)
    yield store
    await store.close()


def kept(response_id: str, previous_id: str | None = None, num_bytes: int = 30) -> Kept:
    return Kept(response_id, previous_id, b"r" * (num_bytes - 2), b"[]")


async def ids_in(store: ResponseStore, *ids: str) -> list[str]:
    return [response_id for response_id in ids if await store.get(response_id)]


async def test_what_is_kept_is_found_until_it_is_deleted(store):
    """Deleting says whether there was anything."""
    await store.put(kept("a"))

    assert await store.get("a") == kept("a")
    assert await store.delete("a")
    assert not await store.delete("a")
    assert await store.get("a") is None


async def test_it_is_forgotten_after_its_time(store, clock):
    """The time is counted from its last use."""
    await store.put(kept("a"))
    clock.now += 59
    await store.chain("a")
    clock.now += 59
    assert await ids_in(store, "a") == ["a"]

    clock.now += 2
    assert await ids_in(store, "a") == []


async def test_the_longest_unused_goes_first(store, clock):
    """Bytes are bounded; using a conversation keeps all of it."""
    for response_id, previous_id in (("a", None), ("b", None), ("c", "a")):
        clock.now += 1
        await store.put(kept(response_id, previous_id))
    await store.chain("c")
    clock.now += 1
    await store.put(kept("d"))

    assert await ids_in(store, "a", "b", "c", "d") == ["a", "c", "d"]


async def test_one_that_is_too_large_is_not_kept(store):
    """It takes nothing else with it than it must."""
    await store.put(kept("huge", num_bytes=101))
    await store.put(kept("a"))

    assert await ids_in(store, "huge", "a") == ["a"]


async def test_a_conversation_comes_in_order(store):
    """From its beginning; with one of them gone there is none."""
    for response_id, previous_id in (("a", None), ("b", "a"), ("c", "b")):
        await store.put(kept(response_id, previous_id))

    assert [k.id for k in await store.chain("c")] == ["a", "b", "c"]
    await store.delete("b")
    assert await store.chain("c") is None
    assert [k.id for k in await store.chain("a")] == ["a"]


async def test_items_lead_to_the_response_that_has_them(store):
    """They go with it."""
    await store.put(kept("a"), ["msg_1", "msg_2"])

    assert (await store.holder("msg_2")).id == "a"
    await store.delete("a")
    assert await store.holder("msg_2") is None


async def test_a_file_outlives_the_server(tmp_path, clock):
    """Its owner alone may read it, and its bytes still count."""
    path = tmp_path / "kept.sqlite"
    first = ResponseStore(str(path), 60, 100, clock)
    await first.put(kept("a"), ["msg_1"])
    await first.close()
    second = ResponseStore(str(path), 60, 50, clock)
    assert (await second.holder("msg_1")).id == "a"
    clock.now += 1
    await second.put(kept("b"))

    assert await ids_in(second, "a", "b") == ["b"]
    assert path.stat().st_mode & 0o077 == 0
    await second.close()


async def test_all_at_once_is_one_after_the_other(store):
    """One thread works; nothing is lost between callers."""
    await asyncio.gather(*(store.put(kept(f"r{n}", num_bytes=2)) for n in range(50)))

    assert len(await ids_in(store, *(f"r{n}" for n in range(50)))) == 50


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be read as one" * 20, None]
)
def test_a_file_that_is_no_store_is_refused(tmp_path, content):
    """The error names it."""
    path = tmp_path / "file"
    path.mkdir() if content is None else path.write_bytes(content)

    with pytest.raises(StoreError, match="file"):
        ResponseStore(str(path), 60, 100)


async def test_what_belongs_to_one_is_not_there_for_another(store):
    """Not even that it exists; and an id of an item that another made up takes nobody's place."""
    await store.put(msgspec.structs.replace(kept("a"), owner="ann"), ["msg_1"])
    await store.put(msgspec.structs.replace(kept("b"), owner="bob"), ["msg_1"])

    for owner in ("bob", ""):
        assert await store.get("a", owner) is None
        assert await store.chain("a", owner) is None
        assert not await store.delete("a", owner)
    assert (await store.holder("msg_1", "ann")).id == "a"
    assert (await store.holder("msg_1", "bob")).id == "b"
    assert await store.holder("msg_1") is None
    assert await store.delete("a", "ann")


async def test_a_file_of_the_first_version_is_taken_over(tmp_path):
    """What it has is nobody's in particular, as it was."""
    path = str(tmp_path / "store.sqlite")
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FIRST_VERSION)
    store = ResponseStore(path, 60, 100, lambda: 1000)

    assert await store.get("a") == Kept("a", None, b"{}", b"[]")
    assert (await store.holder("msg_1")).id == "a"
    await store.delete("a")
    assert await store.holder("msg_1") is None
    await store.close()


FIRST_VERSION = """
CREATE TABLE response (
    id TEXT PRIMARY KEY, previous_id TEXT, used_at REAL NOT NULL, num_bytes INTEGER NOT NULL,
    response BLOB NOT NULL, items BLOB NOT NULL, events BLOB
) STRICT;
CREATE INDEX response_used_at ON response (used_at);
CREATE TABLE item (
    id TEXT PRIMARY KEY, response_id TEXT NOT NULL REFERENCES response (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX item_response_id ON item (response_id);
INSERT INTO response VALUES ('a', NULL, 999, 4, CAST('{}' AS BLOB), CAST('[]' AS BLOB), NULL);
INSERT INTO item VALUES ('msg_1', 'a');
PRAGMA user_version = 1;
"""
