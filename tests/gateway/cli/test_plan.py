import pytest

from gateway.cli.plan import lines

PLAN = {
    "model": "m",
    "is_loaded": False,
    "device": "cpu",
    "form": "tiled",
    "dtype": "auto",
    "kv_dtype": "auto",
    "bytes": 734e6,
    "kv_tokens": 20480,
    "victims": [],
    "ahead": 0,
    "expected_seconds": 0.37,
    "refusal": None,
}
VICTIM = {
    "model": "other",
    "device": "cpu",
    "bytes": 325e6,
    "leases": 1,
    "idle_seconds": None,
    "way": "pause",
    "wait_seconds": 1.5,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["734 MB", "20480 tokens", "0.37 s", "Nothing has to make room"]),
        ({"expected_seconds": None}, ["not known"]),
        ({"ahead": 2}, ["2 models wait"]),
        ({"is_loaded": True}, ["already"]),
        ({"dtype": "float32", "kv_dtype": "fp8"}, ["computed in float32", "20480 tokens in fp8"]),
        ({"refusal": {"status": 503, "error": {"message": "no room"}}}, ["503", "no room"]),
    ],
)
def test_a_plan_in_words(changes, words):
    """What would happen, and where it would not, why."""
    said = " ".join(lines(PLAN | changes))

    for word in words:
        assert word in said


def test_who_makes_room_is_shown(roundhouse, loopback):
    """With how, and from when on."""
    loopback.routes["/v1/models/plan"] = (200, PLAN | {"victims": [VICTIM]})

    printed = roundhouse("plan", "m", "--url", loopback.url)

    assert "Nothing has to make room" not in printed
    assert "is paused between two tokens, in 1.5 s at the earliest" in printed
