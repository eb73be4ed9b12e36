"""What is counted as it happens: loads, evictions, pauses, waits and refusals."""

import re
from collections.abc import Container, Iterable
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from engine.api import ErrorCode, LoadReport
from gateway.pool.actions import (
    Action,
    CancelLoad,
    Close,
    Evict,
    EvictReason,
    Grant,
    Load,
    Pause,
    Refusal,
    Reject,
    Reopen,
    Revoke,
)

LOAD_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
WAIT_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
DWELL_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

_DECISIONS: dict[type[Action], str] = {
    Load: "load",
    CancelLoad: "cancel_load",
    Close: "drain",
    Reopen: "reopen",
    Pause: "pause",
    Evict: "evict",
    Grant: "grant",
    Reject: "refuse",
    Revoke: "revoke",
}

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")


class Counters:
    """A `PoolObserver` that counts. Labels name only models that the pool was asked for.

    reports: by handle, what the models that are loaded took.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reports: dict[int, LoadReport] = {}
        self._loads = Counter(
            "roundhouse_loads",
            "Loads that ended; tier is where the weights were: built, disk, warm, or none.",
            ("model", "tier", "outcome"),
            registry=registry,
        )
        self._load_seconds = Histogram(
            "roundhouse_load_seconds",
            "Time that loads took, by what it went into; total is all of it.",
            ("phase",),
            buckets=LOAD_BUCKETS,
            registry=registry,
        )
        self._evictions = Counter(
            "roundhouse_evictions", "Models that left, by why.", ("reason",), registry=registry
        )
        self._pauses = Counter(
            "roundhouse_pauses", "Models paused between two tokens.", ("model",), registry=registry
        )
        self._waits = Histogram(
            "roundhouse_queue_wait_seconds",
            "Time from a request to the grant of its model.",
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._refusals = Counter(
            "roundhouse_refusals",
            "Requests not granted, or ended, by why.",
            ("reason",),
            registry=registry,
        )
        self._dwell = Histogram(
            "roundhouse_dwell_seconds",
            "Time that models stayed after their load.",
            buckets=DWELL_BUCKETS,
            registry=registry,
        )
        self._lost = Counter(
            "roundhouse_worker_restarts",
            "Workers that died and were started anew.",
            ("device",),
            registry=registry,
        )

        self._decisions = Counter(
            "roundhouse_decisions",
            "What the policy decided.",
            ("decision",),
            registry=registry,
        )

    def begin(self, devices: Iterable[str]) -> None:
        """Tells noughts too, where it is known what there may be: a rate needs one to begin from."""
        for device in devices:
            self._lost.labels(device)
        for reason in get_args(EvictReason):
            self._evictions.labels(reason)
        for refusal in get_args(Refusal):
            self._refusals.labels(_in_snake_case(refusal.__name__))
        for decision in _DECISIONS.values():
            self._decisions.labels(decision)

    def forget_others(self, known: Container[str]) -> None:
        """Lets go of the series of models that are not there any more."""
        for counter in (self._loads, self._pauses):
            told = {sample.labels["model"] for each in counter.collect() for sample in each.samples}
            for gone in {model for model in told if model not in known}:
                counter.remove_by_labels({"model": gone})

    def on_action(self, action: Action, now: float) -> None:
        del now
        self._decisions.labels(_DECISIONS[type(action)]).inc()
        match action:
            case Pause(_, key):
                self._pauses.labels(model_of(key)).inc()
            case Reject(_, _, reason):
                self._refused(reason)
            case Revoke(_, _, requests, reason):
                self._refused(reason, len(requests))

    def on_loaded(self, order: Load, report: LoadReport) -> None:
        self.reports[order.handle] = report
        self._loads.labels(model_of(order.model), report.tier, "loaded").inc()
        self._load_seconds.labels("total").observe(report.seconds)
        for phase, seconds in report.phases.items():
            self._load_seconds.labels(phase).observe(seconds)

    def on_load_failed(self, order: Load, code: ErrorCode, reason: str) -> None:
        del code
        outcome = "cancelled" if reason == "cancelled" else "failed"
        self._loads.labels(model_of(order.model), "none", outcome).inc()

    def on_paused(self, order: Pause) -> None:
        """Was counted when it was decided."""

    def on_waited(self, model: str, seconds: float) -> None:
        del model
        self._waits.observe(seconds)

    def on_evicted(self, order: Evict, reason: EvictReason, resident_seconds: float) -> None:
        del order
        self._evictions.labels(reason).inc()
        self._dwell.observe(resident_seconds)

    def on_lost(self, device: str) -> None:
        self._lost.labels(device).inc()

    def _refused(self, reason: Refusal, num_requests: int = 1) -> None:
        self._refusals.labels(_in_snake_case(type(reason).__name__)).inc(num_requests)


def model_of(key: str) -> str:
    """The id in a pool's key, whatever the digest of its files."""
    return key.rpartition("@")[0]


def _in_snake_case(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()
