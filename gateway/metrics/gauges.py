"""What is worked out only when it is asked for: how things stand at the moment of a scrape."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from engine.api import DeviceStats, Engine
from gateway.metrics.counters import Counters, model_of
from gateway.metrics.standing import Known
from gateway.pool import ModelStatus, Pool

USES = ("weights", "kv", "state", "workspace")
"""Kinds of bytes in `engine.api.LoadReport`."""

_LOADED = {"loaded", "draining"}


class Gauges:
    """A collector over the pool's and the engine's own numbers, which nothing has to keep in step."""

    def __init__(self, engine: Engine, pool: Pool, counters: Counters, known: Known) -> None:
        self._known = known
        self._engine = engine
        self._pool = pool
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        ids = self._known()
        statuses = {k: each for k, each in self._pool.snapshot().items() if model_of(k) in ids}
        yield from _requests(statuses)
        yield _ledger_error(_loaded(statuses))
        yield self._planned()
        yield self._used(_loaded(self._pool.snapshot()))
        yield from self._workers()

    def _planned(self) -> Metric:
        planned = GaugeMetricFamily(
            "roundhouse_device_planned_bytes",
            "What the ledger holds of a device for models, and what is free.",
            labels=("device", "kind"),
        )
        held = self._pool.held_bytes()
        for device in self._engine.devices:
            planned.add_metric((device.name, "models"), held[device.name])
            planned.add_metric((device.name, "free"), device.memory_bytes - held[device.name])
        return planned

    def _used(self, loaded: Mapping[str, ModelStatus]) -> Metric:
        used = GaugeMetricFamily(
            "roundhouse_device_used_bytes",
            "What loaded models really took.",
            labels=("device", "kind"),
        )
        reports = self._counters.reports
        handles = {status.handle for status in loaded.values()}
        for gone in reports.keys() - handles:
            del reports[gone]
        totals: Counter[tuple[str, str]] = Counter()
        for status in loaded.values():
            if status.handle in reports:
                for device_name, kind in itertools.product(status.place, USES):
                    num_bytes = getattr(reports[status.handle], f"{kind}_bytes")
                    totals[device_name, kind] += num_bytes
        for device in self._engine.devices:
            for kind in USES:
                used.add_metric((device.name, kind), totals[device.name, kind])
        return used

    def _workers(self) -> Iterator[Metric]:
        host = GaugeMetricFamily(
            "roundhouse_host_bytes", "Host memory of what made room.", labels=("device", "kind")
        )
        swapping = CounterMetricFamily(
            "roundhouse_swap_seconds",
            "Time in which a load, an eviction or a pause was under way; its rate is the share.",
            labels=("device",),
        )
        prompts = CounterMetricFamily(
            "roundhouse_prompt_tokens", "Tokens of prompts that began.", labels=("device",)
        )
        cached = CounterMetricFamily(
            "roundhouse_cached_prompt_tokens",
            "Tokens of prompts that a prefix cache had.",
            labels=("device",),
        )
        drafted = CounterMetricFamily(
            "roundhouse_drafted_tokens", "Tokens guessed ahead.", labels=("device",)
        )
        accepted = CounterMetricFamily(
            "roundhouse_accepted_tokens", "Guesses that were right.", labels=("device",)
        )
        steps = CounterMetricFamily("roundhouse_steps", "Steps of the worker.", labels=("device",))
        unreclaimed = GaugeMetricFamily(
            "roundhouse_device_unreclaimed_bytes",
            "Memory of the worker that did not come back with the models that left.",
            labels=("device",),
        )
        budget = GaugeMetricFamily(
            "roundhouse_device_budget_bytes", "What models may take.", labels=("device",)
        )
        stats, seconds = self._engine.status.stats, self._pool.swap_seconds()
        for device in self._engine.devices:
            counted = stats.get(device.name, DeviceStats())
            host.add_metric((device.name, "warm"), counted.warm_bytes)
            host.add_metric((device.name, "parked"), counted.parked_bytes)
            swapping.add_metric((device.name,), seconds.get(device.name, 0.0))
            prompts.add_metric((device.name,), counted.prompt_tokens)
            cached.add_metric((device.name,), counted.cached_tokens)
            drafted.add_metric((device.name,), counted.drafted_tokens)
            accepted.add_metric((device.name,), counted.accepted_tokens)
            steps.add_metric((device.name,), counted.steps)
            unreclaimed.add_metric((device.name,), counted.unreclaimed_bytes)
            budget.add_metric((device.name,), device.memory_bytes)
        yield from (host, swapping, prompts, cached, drafted, accepted, steps, unreclaimed, budget)


def _loaded(statuses: Mapping[str, ModelStatus]) -> dict[str, ModelStatus]:
    return {key: status for key, status in statuses.items() if status.state in _LOADED}


def _requests(statuses: Mapping[str, ModelStatus]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "roundhouse_requests_waiting", "Requests that wait for their model.", labels=("model",)
    )
    running = GaugeMetricFamily(
        "roundhouse_requests_running", "Requests that hold their model.", labels=("model",)
    )
    num_waiting: Counter[str] = Counter()
    num_running: Counter[str] = Counter()
    for key, status in statuses.items():  # a file that was replaced has an old key beside its new
        num_waiting[model_of(key)] += status.waiting
        num_running[model_of(key)] += status.leases
    for model in num_waiting:
        waiting.add_metric((model,), num_waiting[model])
        running.add_metric((model,), num_running[model])
    yield from (waiting, running)


def _ledger_error(loaded: Mapping[str, ModelStatus]) -> Metric:
    error = GaugeMetricFamily(
        "roundhouse_ledger_error_bytes",
        "What a loaded model takes beyond what its headers said.",
        labels=("model",),
    )
    errors: Counter[str] = Counter()
    for key, status in loaded.items():
        errors[model_of(key)] += status.bytes - status.planned_bytes
    for model, num_bytes in errors.items():
        error.add_metric((model,), num_bytes)
    return error
