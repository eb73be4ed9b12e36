import json

import pytest

MODEL = "org/chat-model"
LOADED = {
    "id": MODEL,
    "state": "loaded",
    "device": "cpu",
    "memory_bytes": 325e6,
    "load_seconds": 0.35,
    "waiting": 0,
    "leases": 0,
}


@pytest.fixture
def answers(loopback):
    """Every order is taken, and the model is as it says."""
    for command in ("load", "unload", "pin", "unpin"):
        loopback.routes[f"/v1/models/{command}"] = (200, {"success": True})
    loopback.routes[f"/v1/models/{MODEL}"] = (200, LOADED)
    return loopback


def test_load_tells_what_came_of_it(roundhouse, answers):
    """Where the model is, what it takes, and how long that took."""
    printed = roundhouse("load", MODEL, "--keep-alive", "5m", "--url", answers.url)

    assert printed == f"{MODEL} is loaded on cpu: 325 MB, in 0.35 s.\n"
    assert answers.asked == [{"model": MODEL, "keep_alive": "5m"}]


def test_a_load_that_fails_says_why(roundhouse, answers):
    """The server only says that it took the order; what it would answer now is the reason."""
    answers.routes[f"/v1/models/{MODEL}"] = (200, LOADED | {"state": "unloaded"})
    refusal = {"status": 503, "error": {"message": "no room"}}
    answers.routes["/v1/models/plan"] = (200, {"refusal": refusal})

    with pytest.raises(SystemExit, match="no room"):
        roundhouse("load", MODEL, "--url", answers.url)


def test_unload_may_be_forced(roundhouse, answers):
    """Otherwise requests end by themselves, which is said."""
    answers.routes[f"/v1/models/{MODEL}"] = (200, LOADED | {"state": "draining", "leases": 2})
    polite = roundhouse("unload", MODEL, "--url", answers.url)
    roundhouse("unload", MODEL, "--force", "--url", answers.url)

    assert "2 requests" in polite
    assert [body["force"] for body in answers.asked] == [False, True]


@pytest.mark.parametrize("command", ["pin", "unpin"])
def test_json_is_the_model_afterwards(roundhouse, answers, command):
    """As the server shows it."""
    printed = roundhouse(command, MODEL, "--json", "--url", answers.url)

    assert json.loads(printed)["state"] == "loaded"


def test_the_key_is_in_the_environment(roundhouse, loopback, monkeypatch):
    """A server that wants one says so, and is then sent it."""
    loopback.refuse("/v1/models", 401, "Incorrect API key provided.")
    with pytest.raises(SystemExit, match="ROUNDHOUSE_API_KEY"):
        roundhouse("list", "--url", loopback.url)

    monkeypatch.setenv("ROUNDHOUSE_API_KEY", "sk-mine")
    with pytest.raises(SystemExit):
        roundhouse("list", "--url", loopback.url)

    assert loopback.keys == [None, "Bearer sk-mine"]
