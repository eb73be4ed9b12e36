"""What Prometheus is told. Counting is a few additions; all else waits until somebody asks."""

from prometheus_client import CollectorRegistry, ProcessCollector

from engine.api import Engine
from gateway.metrics.counters import Counters
from gateway.metrics.gauges import Gauges
from gateway.pool import Pool


def make_registry(engine: Engine, pool: Pool) -> CollectorRegistry:
    """A registry of its own, so that two apps in a process do not count for each other."""
    registry = CollectorRegistry(auto_describe=True)
    counters = Counters(registry)
    registry.register(Gauges(engine, pool, counters))
    ProcessCollector(registry=registry)
    pool.observe(counters)
    return registry
