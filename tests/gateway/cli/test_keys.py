"""`roundhouse key`, as it is typed."""

import json
from datetime import UTC, datetime

import pytest

from gateway.__main__ import main
from gateway.cli.errors import CommandError
from gateway.cli.keys import expiry
from gateway.keys.key import digest_of
from gateway.keys.table import Table


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command line; returns what it says, and where the keys are in `run.path`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> str:
        main(["key", *words])
        return capsys.readouterr().out

    typed.path = tmp_path / "roundhouse/keys.sqlite"
    return typed


def test_a_key_is_shown_once_and_listed_by_its_name(run):
    """What is kept would let nobody in."""
    secret = run("create", "--name", "ann", "--scopes", "infer,manage").strip()

    assert secret.startswith("rh-")
    (made,) = Table(run.path).made()
    assert (made.key.name, made.key.digest) == ("ann", digest_of(secret))
    assert made.key.scopes == {"infer", "manage"}
    listed = run("list")
    assert "ann" in listed
    assert secret not in listed


def test_every_option_reaches_the_key(run):
    """As JSON for programs."""
    words = ["--models", "org/*, tiny", "--no-swap", "--shares-cache", "--expires", "2027-01-31"]
    limits = {
        "requests_per_minute": 1,
        "tokens_per_minute": 2,
        "concurrency": 3,
        "device_seconds_per_day": 4.5,
        "device_seconds_per_month": 5.5,
    }
    for name, value in limits.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    made = json.loads(run("create", "--name", "ann", *words, "--json"))
    (row,) = json.loads(run("list", "--json"))

    assert row["id"] == made["id"] == digest_of(made["key"])[:16]
    assert {name: row[name] for name in limits} == limits
    assert (row["models"], row["may_swap"], row["shares_cache"]) == (["org/*", "tiny"], False, True)
    assert row["expires"] == "2027-01-31T00:00:00Z"


def test_a_revoked_key_is_gone(run):
    """And revoking it again is an error."""
    run("create", "--name", "ann")

    assert run("revoke", "ann") == "ann is revoked.\n"
    assert run("list").startswith("There are no keys")
    with pytest.raises(SystemExit, match="no key 'ann'"):
        run("revoke", "ann")


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--name", "a b"],
        ["create", "--name", "ann", "--scopes", "all"],
        ["create", "--name", "ann", "--concurrency", "0"],
        ["create", "--name", "ann", "--expires", "soon"],
    ],
)
def test_a_wrong_wish_makes_no_key(run, words):
    """One line says what is wrong."""
    with pytest.raises(SystemExit, match="roundhouse: "):
        run(*words)

    assert not run.path.exists()


def test_the_configuration_says_where_the_keys_are(run, tmp_path):
    """So that the command and the server mean the same file."""
    (tmp_path / "roundhouse.toml").write_text('[keys]\npath = "here.sqlite"\n')
    run("create", "--name", "ann")
    assert (tmp_path / "here.sqlite").exists()

    (tmp_path / "roundhouse.toml").write_text('[keys]\npath = "off"\n')
    with pytest.raises(SystemExit, match="elsewhere"):
        run("create", "--name", "bob")


def test_when_a_key_ends():
    """After a time, or on a day of UTC's."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    assert expiry("2d", now.timestamp()) == datetime(2026, 11, 25, tzinfo=UTC)
    assert expiry("2026-12-01T10:00", now.timestamp()) == datetime(2026, 12, 1, 10, tzinfo=UTC)
    with pytest.raises(CommandError, match="30d"):
        expiry("99999999999w", now.timestamp())
