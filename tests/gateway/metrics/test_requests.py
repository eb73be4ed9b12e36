from gateway.journey import Arrival, Journey
from gateway.metrics.requests import Requests


def _journey(model: str = "tiny", error: str | None = None) -> Journey:
    journey = Journey("chat", model, Arrival(10.0), model=model, error=error, max_tokens=50)
    journey.prepared_at, journey.granted_at = 10.5, 11.0
    journey.first_at, journey.last_at, journey.ended_at = 12.0, 14.0, 14.5
    journey.finish_reasons = ["stop"]
    journey.completion_tokens = journey.most_completion_tokens = 5
    return journey


def test_an_answer():
    """Each of its numbers once, and the mean time of its tokens."""
    requests = Requests()

    requests.ended(_journey())

    counted = requests.by_model["tiny"]
    assert counted.outcomes == {"stop": 1}
    totals = {name: seen.total for name, seen in counted.seen.items()}
    assert totals["first"] == 2.0
    assert totals["request"] == 4.5
    assert totals["decode"] == 2.0
    assert totals["token"] == 0.5
    assert totals["max_tokens"] == 50


def test_errors_and_those_who_left_say_nothing_of_speed():
    """They only count."""
    requests = Requests()

    requests.ended(_journey(error="abort"))
    requests.ended(_journey(error="out_of_memory"))

    counted = requests.by_model["tiny"]
    assert counted.outcomes == {"abort": 1, "error": 1}
    assert not any(sum(seen.counts) for seen in counted.seen.values())


def test_names_that_clients_make_up_are_no_series():
    """Nor are models that are not there any more."""
    requests = Requests()

    requests.ended(_journey(model=""))
    requests.ended(_journey(model="gone"))
    requests.ended(_journey(model="here"))
    requests.forget_others(["here"])

    assert requests.by_model.keys() == {"here"}
