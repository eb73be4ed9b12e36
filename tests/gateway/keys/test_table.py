"""What is kept of keys."""

import stat
from collections import Counter
from datetime import UTC, datetime

import pytest

from gateway.keys.errors import KeysError
from gateway.keys.key import Key, digest_of
from gateway.keys.table import Table

NOW = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
SECRET = "the-key-of-ann-1234"
ANN = Key(
    name="ann",
    digest=digest_of(SECRET),
    scopes=frozenset({"infer", "manage"}),
    models=("org/*",),
    expires=datetime(2027, 1, 1, tzinfo=UTC),
    requests_per_minute=3,
)


def test_a_key_comes_back_as_it_was_and_its_secret_is_nowhere(tmp_path):
    """Whoever steals the file has no key; and only its owner may read it."""
    path = tmp_path / "keys.sqlite"
    table = Table(path)
    table.add(ANN, NOW)

    assert [made.key for made in table.made()] == [ANN]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    table.close()
    assert SECRET.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_name_is_given_once(tmp_path):
    """So that revoking it says whose key goes."""
    table = Table(tmp_path / "keys.sqlite")
    table.add(ANN, NOW)
    with pytest.raises(KeysError, match="already"):
        table.add(Key(name="ann", digest=digest_of("another-key-of-ann")), NOW)

    assert table.remove("ann")
    assert not table.remove("ann")


def test_two_servers_add_to_one_use(tmp_path):
    """Each is told what both used; last month's is forgotten."""
    path = tmp_path / "keys.sqlite"
    first, second = Table(path), Table(path)
    first.add_use({"k": Counter({"2026-10-31": 9.0, "2026-11-22": 1.0})}, NOW)
    used = second.add_use({"k": Counter({"2026-11-22": 0.5})}, NOW)

    assert used == {"k": Counter({"2026-11-22": 1.5})}
    assert first.use(NOW) == used
    assert first._rows("SELECT COUNT(*) FROM use") == [(1,)]


def test_a_file_of_another_kind_is_refused(tmp_path):
    """Rather than written over."""
    path = tmp_path / "keys.sqlite"
    path.write_text("something else entirely, longer than a header of a hundred bytes" * 4)
    with pytest.raises(KeysError, match=str(path)):
        Table(path)
