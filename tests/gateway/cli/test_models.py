import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.cli.models import disk_bytes, in_memory, requests, state, until


def test_list_shows_all_models(roundhouse, loopback):
    """Every model is a line with its state and size."""
    header, chat, base = roundhouse("list", "--url", loopback.url).splitlines()

    assert header.split()[:2] == ["MODEL", "STATE"]
    assert chat.split()[:2] == ["org/chat-model", "loaded"]
    assert "135 M" in chat
    assert "98.4 MB" in chat
    assert base.split()[:2] == ["base-model", "unloaded"]


def test_ps_shows_what_is_in_memory(roundhouse, loopback):
    """A model that is not loaded is none of ps's business."""
    printed = roundhouse("ps", "--url", loopback.url)

    assert "org/chat-model" in printed
    assert "base-model" not in printed


def test_json_is_the_servers_own(roundhouse, loopback):
    """With --json a program gets every field."""
    models = json.loads(roundhouse("list", "--json", "--url", loopback.url))

    assert models[1]["context_length"] == 8192


def test_markup_in_a_name_is_text(roundhouse, loopback):
    """A file may be called anything; square brackets are not styles."""
    loopback.routes["/v1/models"] = (200, {"data": [{"id": "a[bold]b", "state": "loaded"}]})

    assert "a[bold]b" in roundhouse("list", "--url", loopback.url)


@pytest.mark.parametrize(("command", "word"), [("list", "no models"), ("ps", "No model is loaded")])
def test_nothing_to_show_is_said(roundhouse, loopback, command, word):
    """An empty table would leave one wondering."""
    loopback.routes["/v1/models"] = (200, {"data": []})

    assert word in roundhouse(command, "--url", loopback.url)


def test_closed_pipe_is_silent(loopback):
    """A reader that has seen enough, such as head, causes no traceback."""
    command = [sys.executable, "-m", "gateway", "list", "--json", "--url", loopback.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()

    assert errors == b""


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"pinned": True, "expires_at": None}, "pinned"),
        ({"expires_at": None}, "room is needed"),
        ({"expires_at": 1_795_416_970}, "%H:%M:%S"),
    ],
)
def test_until_says_how_long_a_model_stays(model, text):
    """By the clock of the machine where it is read."""
    moment = datetime.fromtimestamp(1_795_416_970, UTC).astimezone()

    assert until(model) == moment.strftime(text)


def test_a_preset_is_shown_by_its_model():
    """It takes no memory and no disk of its own."""
    model = {"id": "m", "root": "m", "state": "loaded", "bytes": 7}
    preset = model | {"id": "terse"}

    assert in_memory([model, preset]) == [model]
    assert disk_bytes([model, preset]) == 7


def test_what_a_model_does_now_is_said():
    """How far its load is, and who waits for it."""
    loading = {"state": "loading", "status": {"progress": {"value": 0.43}}}

    assert state(loading) == "loading 43%"
    assert requests({"leases": 2, "waiting": 0}) == "2"
    assert requests({"leases": 2, "waiting": 3}) == "2 +3 waiting"


def test_names_alone_are_for_shells(roundhouse, loopback):
    """One on each line."""
    printed = roundhouse("list", "--names", "--url", loopback.url)

    assert printed.splitlines() == ["org/chat-model", "base-model"]


def test_watch_wants_a_terminal(roundhouse, loopback):
    """In a pipe it would never end."""
    with pytest.raises(SystemExit, match="terminal"):
        roundhouse("ps", "--watch", "--url", loopback.url)
