"""What is counted of requests to upstreams. Labels name only models that settings or lists name."""

from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.upstreams.directory import Target

Outcome = Literal["answered", "failed", "refused", "left"]

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Counters:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "roundhouse_upstream_attempts",
            "Requests sent to other servers, by how they ended; the model is by our name.",
            ("upstream", "model", "outcome"),
            registry=registry,
        )
        self._first = Histogram(
            "roundhouse_upstream_first_seconds",
            "Time from a request to another server to the first of its answer.",
            ("upstream",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._resting = Gauge(
            "roundhouse_upstream_resting",
            "1 while a model of another server is left alone, since it failed or is busy.",
            ("upstream", "model"),
            registry=registry,
        )

    def ended(self, model: str, target: Target, outcome: Outcome) -> None:
        self._attempts.labels(target.upstream, model, outcome).inc()

    def began(self, target: Target, seconds: float) -> None:
        self._first.labels(target.upstream).observe(seconds)

    def rests(self, model: str, target: Target, is_resting: bool) -> None:
        self._resting.labels(target.upstream, model).set(is_resting)
