"""What is told of each model, under our names and under vLLM's."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.metrics.distribution import Distribution
from gateway.metrics.names import (
    COUNTS,
    KV_USAGE,
    REQUESTS,
    RUNNING,
    STEP_TOKENS,
    TOKEN_SECONDS,
    WAITING,
    Family,
)
from gateway.metrics.requests import ModelRequests
from gateway.metrics.standing import Standing

ENGINE = "0"
"""vLLM numbers the engines of a server; each of our models has one."""

STATES = ("unloaded", "loading", "loaded", "draining", "paused", "unloading")

_FINISHED = {"tool_calls": "stop", "done": "stop"}
"""vLLM's reasons are stop, length, abort and error."""


class ByModel:
    """A collector of one moment, which may be asked on any thread: it takes milliseconds a model."""

    def __init__(
        self,
        standings: Mapping[str, Standing],
        requests: Mapping[str, ModelRequests],
        *,
        vllm_names: bool,
    ) -> None:
        self._standings, self._requests, self._vllm_names = standings, requests, vllm_names

    def collect(self) -> Iterator[Metric]:
        found = self._standings
        yield from self._now(found)
        for name, family in COUNTS.items():
            yield from self._counters(family, {m: each.counts[name] for m, each in found.items()})
        timed = {model: each.token_seconds for model, each in found.items()}
        yield from self._histograms(TOKEN_SECONDS, timed)
        stepped = {model: each.step_tokens for model, each in found.items()}
        yield from self._histograms(STEP_TOKENS, stepped)
        for name, family in REQUESTS.items():
            seen = {model: each.seen[name] for model, each in self._requests.items()}
            yield from self._histograms(family, seen)
        yield from self._outcomes()

    def _now(self, found: Mapping[str, Standing]) -> Iterator[Metric]:
        yield _states(found)
        for family, values in (
            (RUNNING, {model: each.running for model, each in found.items()}),
            (WAITING, {model: each.waiting for model, each in found.items()}),
            (KV_USAGE, {m: each.kv_usage for m, each in found.items() if each.num_blocks}),
        ):
            for name, labels, extra in self._names(family):
                told = GaugeMetricFamily(name, family.help, labels=labels)
                for model, value in values.items():
                    told.add_metric((model, *extra), value)
                yield told
        if self._vllm_names:
            yield _cache_config(found)

    def _counters(self, family: Family, values: dict[str, int]) -> Iterator[Metric]:
        for name, labels, extra in self._names(family):
            told = CounterMetricFamily(name, family.help, labels=labels)
            for model, value in values.items():
                told.add_metric((model, *extra), value)
            yield told

    def _histograms(self, family: Family, values: dict[str, Distribution]) -> Iterator[Metric]:
        buckets = {model: seen.buckets() for model, seen in values.items()}
        for name, labels, extra in self._names(family):
            told = HistogramMetricFamily(name, family.help, labels=labels)
            for model, seen in values.items():
                told.add_metric((model, *extra), buckets[model], seen.total)
            yield told

    def _outcomes(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "roundhouse_requests",
            "Choices of requests that ended, by how.",
            labels=("model", "outcome"),
        )
        succeeded = CounterMetricFamily(
            "vllm:request_success",
            "Choices of requests that ended, by how.",
            labels=("model_name", "engine", "finished_reason"),
        )
        for model, requests in self._requests.items():
            reasons: dict[str, int] = {}
            for outcome, count in requests.outcomes.items():
                ended.add_metric((model, outcome), count)
                reason = _FINISHED.get(outcome, outcome)
                reasons[reason] = reasons.get(reason, 0) + count
            for reason, count in reasons.items():
                succeeded.add_metric((model, ENGINE, reason), count)
        yield ended
        if self._vllm_names:
            yield succeeded

    def _names(self, family: Family) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """Each with its labels, and what they are beside the model."""
        if family.own:
            yield family.own, ("model",), ()
        for name in family.vllm if self._vllm_names else ():
            yield name, ("model_name", "engine"), (ENGINE,)


def _states(found: Mapping[str, Standing]) -> Metric:
    states = GaugeMetricFamily(
        "roundhouse_model_state", "1 for the state that a model is in.", labels=("model", "state")
    )
    for model, standing in found.items():
        for state in STATES:
            states.add_metric((model, state), state == standing.state)
    return states


def _cache_config(found: Mapping[str, Standing]) -> Metric:
    config = GaugeMetricFamily(
        "vllm:cache_config_info",
        "1; how large a loaded model's cache is.",
        labels=("model_name", "engine", "block_size", "num_gpu_blocks"),
    )
    for model, standing in found.items():
        if standing.num_blocks:
            sizes = (str(standing.block_size), str(standing.num_blocks))
            config.add_metric((model, ENGINE, *sizes), 1)
    return config
