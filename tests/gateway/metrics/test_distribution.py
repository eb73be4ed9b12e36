from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import given
from prometheus_client import CollectorRegistry, Histogram

from gateway.metrics.distribution import Distribution

BOUNDS = (0.5, 1.0, 5.0)


@given(st.lists(st.sampled_from([0.0, 0.5, 0.7, 1.0, 4.9, 5.0, 5.1, 100.0])))
def test_it_counts_as_prometheus_client_does(values: Sequence[float]):
    """A bound is part of its bucket; each bucket holds all below it."""
    registry = CollectorRegistry()
    reference = Histogram("x", "x", buckets=BOUNDS, registry=registry)
    seen = Distribution(BOUNDS)
    for value in values:
        reference.observe(value)
        seen.observe(value)

    for bound, count in seen.buckets():
        assert registry.get_sample_value("x_bucket", {"le": bound}) == count
    assert seen.total == registry.get_sample_value("x_sum")


def test_counts_from_elsewhere_add_up():
    """By the same bounds."""
    seen = Distribution(BOUNDS)
    seen.observe(0.1)

    seen.add((1, 2, 0, 4), 50.0)

    assert seen.counts == [2, 2, 0, 4]
    assert seen.total == 50.1
