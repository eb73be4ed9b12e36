import pytest
from prometheus_client import CollectorRegistry

from engine.api import LoadReport
from gateway.metrics.counters import Counters
from gateway.pool.actions import CannotFit, Evict, Load, Pause, Reject, Revoke, Unloaded

ORDER = Load(1, "org/tiny@0123", ("cpu",), "dense", kv_tokens=16, bytes=500)
REPORT = LoadReport(400, 80, 0.3, workspace_bytes=30, tier="warm", phases={"map": 0.2})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def counters(registry) -> Counters:
    return Counters(registry)


def test_a_load_that_ends_well(counters, registry):
    """By tier, with its phases; a model is called by its id."""
    counters.on_loaded(ORDER, REPORT)

    labels = {"model": "org/tiny", "tier": "warm", "outcome": "loaded"}
    assert registry.get_sample_value("roundhouse_loads_total", labels) == 1
    for phase, seconds in (("total", 0.3), ("map", 0.2)):
        found = registry.get_sample_value("roundhouse_load_seconds_sum", {"phase": phase})
        assert found == seconds


@pytest.mark.parametrize(
    ("reason", "outcome"), [("cut short", "failed"), ("cancelled", "cancelled")]
)
def test_a_load_that_does_not(counters, registry, reason, outcome):
    """What nobody wanted any more is no failure."""
    counters.on_load_failed(ORDER, "internal", reason)

    labels = {"model": "org/tiny", "tier": "none", "outcome": outcome}
    assert registry.get_sample_value("roundhouse_loads_total", labels) == 1
    assert not counters.reports


def test_evictions_and_dwell(counters, registry):
    """By why, and how long the model was there."""
    counters.on_evicted(Evict(1, "org/tiny@0123", ("cpu",)), "expired", 7.0)

    assert registry.get_sample_value("roundhouse_evictions_total", {"reason": "expired"}) == 1
    assert registry.get_sample_value("roundhouse_dwell_seconds_sum") == 7.0


def test_pauses_waits_refusals_and_losses(counters, registry):
    """Each in a count of its own."""
    counters.on_action(Pause(1, "org/tiny@0123", ("cpu",), "other@4567"), 0.0)
    counters.on_action(Reject(1, "org/tiny@0123", CannotFit(2, 1)), 0.0)
    counters.on_action(Revoke(1, "org/tiny@0123", (2, 3), Unloaded()), 0.0)
    counters.on_waited("org/tiny@0123", 0.5)
    counters.on_lost("cpu")

    assert registry.get_sample_value("roundhouse_pauses_total", {"model": "org/tiny"}) == 1
    assert registry.get_sample_value("roundhouse_refusals_total", {"reason": "cannot_fit"}) == 1
    assert registry.get_sample_value("roundhouse_refusals_total", {"reason": "unloaded"}) == 2
    assert registry.get_sample_value("roundhouse_queue_wait_seconds_sum") == 0.5
    assert registry.get_sample_value("roundhouse_worker_restarts_total", {"device": "cpu"}) == 1
