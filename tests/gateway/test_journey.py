import pytest

from engine.api import ChatPrompt, LoadReport, Spent, TextPrompt, Usage
from gateway.journey import MAX_EVENTS, Arrival, Journey, Loading, arrival_of, operation_of


@pytest.fixture
def journey() -> Journey:
    """Came at 10, was read until 11, waited until 15, answered from 17 to 20."""
    made = Journey("chat", "tiny", Arrival(10.0), model="tiny")
    made.prepared_at, made.granted_at = 11.0, 15.0
    made.first_at, made.last_at, made.ended_at = 17.0, 20.0, 21.0
    return made


def test_where_the_time_went(journey):
    """The queue is the wait for the model, loads included, and the worker's own."""
    journey.loads.append(Loading(14.0, LoadReport(1, 1, 2.5)))
    journey.choice_ended("stop", Usage(3, 5, 1, spent=Spent(0.5, 1.5)))

    assert journey.parts() == {
        "prepare": 1.0,
        "queue": 4.5,
        "load": 2.5,
        "prefill": 1.5,
        "decode": 3.0,
    }
    assert journey.seconds == 11.0


def test_a_load_that_had_begun_before_counts_from_then_on(journey):
    """What others waited before is not this request's wait."""
    journey.loads.append(Loading(14.0, LoadReport(1, 1, 100.0)))

    assert journey.load_seconds == 3.0


def test_choices_add_up(journey):
    """Tokens of all; the longest of them tells how long a token took."""
    journey.choice_ended("stop", Usage(3, 5, 1))
    journey.choice_ended("length", Usage(3, 7, 2))

    assert (journey.completion_tokens, journey.most_completion_tokens) == (12, 7)
    assert journey.cached_tokens == 3
    assert journey.finish_reasons == ["stop", "length"]


def test_a_request_that_never_got_its_model():
    """It waited until it ended, and did nothing else."""
    journey = Journey("chat", "tiny", Arrival(10.0))
    journey.prepared_at, journey.ended_at = 11.0, 15.0

    assert journey.parts() == {"prepare": 1, "queue": 4, "load": 0, "prefill": 0, "decode": 0}


def test_events_are_bounded(journey):
    """A request that waits for hours while others swap remembers so much and no more."""
    for _ in range(MAX_EVENTS + 1):
        journey.happened("loading", model="other")

    assert len(journey.events) == MAX_EVENTS


def test_operations():
    """Messages are chatted about, all else is completed."""
    assert operation_of([ChatPrompt([])]) == "chat"
    assert operation_of([TextPrompt("x")]) == "text_completion"


def test_how_long_a_first_token_took_is_no_part_of_an_answer():
    """Two runs of the same are equal, however long they took."""
    assert Usage(1, 2, spent=Spent(1.0, 2.0)) == Usage(1, 2)
    assert hash(Spent(1.0, 2.0)) == hash(Spent())


PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ("", "")),
        ({b"traceparent": PARENT}, (PARENT.decode(), "")),
        ({b"traceparent": PARENT, b"tracestate": b"a=b"}, (PARENT.decode(), "a=b")),
        ({b"traceparent": PARENT.upper(), b"tracestate": b"a=b"}, ("", "")),
        ({b"traceparent": b"ff" + PARENT[2:]}, ("", "")),
        ({b"traceparent": PARENT + b"\xe4"}, ("", "")),
        ({b"traceparent": PARENT, b"tracestate": b"a=\xe4"}, (PARENT.decode(), "")),
        ({b"traceparent": PARENT, b"tracestate": b"a" * 513}, (PARENT.decode(), "")),
    ],
)
def test_what_a_request_says_of_its_trace(headers, expected):
    """It is handed on as it is, so what is malformed is as good as absent."""
    found = arrival_of(1.0, headers, b"req")

    assert (found.traceparent, found.tracestate) == expected
    assert found.request_id == "req"
