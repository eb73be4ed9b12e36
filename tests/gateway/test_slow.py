from structlog.testing import capture_logs

from gateway.journey import Arrival, Journey
from gateway.slow import SlowLog


def _ended(seconds: float) -> Journey:
    journey = Journey("chat", "tiny", Arrival(10.0), model="org/tiny")
    journey.prepared_at = 10.5
    journey.ended_at = 10.0 + seconds
    return journey


def test_slow_requests_are_told_of():
    """With where their time went."""
    with capture_logs() as lines:
        SlowLog(lambda: 5.0).ended(_ended(7.0))

    (line,) = lines
    assert line["event"] == "slow_request"
    assert line["model"] == "org/tiny"
    assert (line["seconds"], line["prepare_seconds"], line["queue_seconds"]) == (7.0, 0.5, 6.5)


def test_others_are_not():
    """Nor any, where nobody wants that."""
    with capture_logs() as lines:
        SlowLog(lambda: 5.0).ended(_ended(4.0))
        SlowLog(lambda: 0).ended(_ended(4000.0))

    assert not lines
