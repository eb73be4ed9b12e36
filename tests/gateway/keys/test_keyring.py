"""Keys that come and go while a server runs."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import structlog

from gateway.config import SCOPES, KeysSettings
from gateway.keys.errors import KeysError
from gateway.keys.key import Key, digest_of
from gateway.keys.keyring import CHECK_SECONDS, Keyring, database_path
from gateway.keys.table import Table

ANN, BOB = "the-key-of-ann-1234", "the-key-of-bob-1234"


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self) -> None:
        self.now += CHECK_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


def write(path, *pairs: tuple[str, str]):
    entries = "".join(f'[[keys]]\nname = "{name}"\nkey = "{key}"\n' for name, key in pairs)
    path.write_text(entries or "keys = []")


def test_a_made_key_is_found_and_a_revoked_one_is_not(tmp_path, clock):
    """Another process writes the database; it need not be there at the start."""
    path = tmp_path / "data/keys.sqlite"
    ring = Keyring(KeysSettings(path=str(path)), None, clock)
    assert ring.find(ANN) is None
    assert not path.exists()

    table = Table(path)
    table.add(Key(name="ann", digest=digest_of(ANN)), now=1)
    clock.later()
    assert ring.find(ANN).name == "ann"

    table.remove("ann")
    clock.later()
    assert ring.find(ANN) is None
    table.close()
    ring.close()


def test_another_process_is_heard_by_who_has_the_file_open_twice(tmp_path, clock):
    """The keys and their use are two connections; the second must not cost the first its locks."""
    path = tmp_path / "keys.sqlite"
    first = Table(path)
    first.add(Key(name="ann", digest=digest_of(ANN)), now=1)
    first.close()
    ring, second = Keyring(KeysSettings(path=str(path)), None, clock), Table(path)
    for _ in range(2):
        program = f"from gateway.keys.table import Table; from pathlib import Path; t = Table(Path({str(path)!r})); t.remove('ann'); t.close()"
        subprocess.run([sys.executable, "-c", program], check=True)
        clock.later()

        assert ring.find(ANN) is None
        second.add(Key(name="ann", digest=digest_of(ANN)), now=1)
        clock.later()
        assert ring.find(ANN)
    second.close()
    ring.close()


def test_a_database_that_is_gone_takes_its_keys_with_it(tmp_path, clock):
    """And one in its place brings its own."""
    path = tmp_path / "keys.sqlite"
    table = Table(path)
    table.add(Key(name="ann", digest=digest_of(ANN)), now=1)
    table.close()
    ring = Keyring(KeysSettings(path=str(path)), None, clock)
    assert ring.find(ANN)
    for old in tmp_path.iterdir():
        old.unlink()
    clock.later()

    assert ring.find(ANN) is None
    ring.close()


def test_a_file_is_read_again_when_it_changes(tmp_path, clock):
    """Also when it is replaced whole, as a secret of Kubernetes is."""
    path, new = tmp_path / "keys.toml", tmp_path / "new.toml"
    write(path, ("ann", ANN))
    ring = Keyring(KeysSettings(path="off", file=path), None, clock)
    assert ring.find(ANN)
    assert not ring.find(BOB)

    write(new, ("bob", BOB))
    new.replace(path)
    clock.later()
    assert ring.find(BOB)
    assert not ring.find(ANN)


def test_half_a_file_locks_nobody_out(tmp_path, clock):
    """It is warned of once, and what was known stays until it can be read."""
    path = tmp_path / "keys.toml"
    write(path, ("ann", ANN))
    ring = Keyring(KeysSettings(path="off", file=path), None, clock)
    path.write_text("[[keys")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            clock.later()
            assert ring.find(ANN)

    assert [line["event"] for line in lines] == ["keys_not_read"]


def test_at_the_start_half_a_file_is_an_error(tmp_path, clock):
    """Nobody is watching the log of a server that came up without its keys."""
    path = tmp_path / "keys.toml"
    path.write_text("[[keys")
    with pytest.raises(KeysError, match="TOML"):
        Keyring(KeysSettings(path="off", file=path), None, clock)


def test_the_environments_key_may_do_everything(clock):
    """One key for who needs no more; one that is easily guessed is refused."""
    ring = Keyring(KeysSettings(path="off"), ANN, clock)

    assert ring.find(ANN).scopes == SCOPES
    with pytest.raises(KeysError, match="ROUNDHOUSE_API_KEY"):
        Keyring(KeysSettings(path="off"), "secret", clock)


def test_the_database_is_in_the_users_data_folder(tmp_path, monkeypatch):
    """Unless the settings say where, or that there is none."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert database_path(KeysSettings()) == tmp_path / "roundhouse/keys.sqlite"
    assert database_path(KeysSettings(path="off")) is None
