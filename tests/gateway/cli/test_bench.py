import json

import pytest


@pytest.fixture
def measured(loopback):
    loopback.usage = {"prompt_tokens": 20, "completion_tokens": 3}
    return loopback


def test_each_run_is_measured(roundhouse, measured):
    """As a client sees it; prompts differ, so that none is known already."""
    runs = json.loads(roundhouse("bench", "org/chat-model", "--json", "--url", measured.url))

    assert [run["name"] for run in runs] == ["1", "2", "3"]
    assert all(run["ttft_seconds"] > 0 and run["prefill"] > 0 for run in runs)
    assert len({body["prompt"] for body in measured.asked}) == 3


def test_a_cold_model_has_a_run_of_its_own(roundhouse, measured):
    """Its load is no part of the median."""
    printed = roundhouse("bench", "base-model", "--runs", "1", "--url", measured.url)

    assert [line.split()[0] for line in printed.splitlines()[1:3]] == ["load", "1"]


def test_a_swap_begins_with_an_unload(roundhouse, measured):
    """Which waits for other requests, and forces nothing."""
    measured.routes["/v1/models/unload"] = (200, {"success": True})
    roundhouse("bench", "org/chat-model", "--swap", "--runs", "1", "--url", measured.url)

    assert measured.asked[0] == {"model": "org/chat-model"}


def test_a_model_that_generates_nothing_is_refused(roundhouse, loopback):
    """An embedder, say."""
    embedder = {"id": "e", "tasks": ["embedding"], "state": "loaded"}
    loopback.routes["/v1/models/e"] = (200, embedder)

    with pytest.raises(SystemExit, match="generates no text"):
        roundhouse("bench", "e", "--url", loopback.url)
