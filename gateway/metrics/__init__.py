"""What Prometheus is told. Counting is a few additions; all else waits until somebody asks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector

from engine.api import Engine
from gateway.metrics.by_model import ByModel
from gateway.metrics.counters import Counters
from gateway.metrics.epp import Aggregated
from gateway.metrics.gauges import Gauges
from gateway.metrics.moment import Moment
from gateway.metrics.requests import Requests
from gateway.metrics.responses import Responses
from gateway.metrics.standing import Known, Standing, standings
from gateway.pool import Pool

__all__ = ["Metrics", "Moment", "make_metrics"]


@dataclass(frozen=True)
class Metrics:
    """registry: what is told but for models' own. aggregated: what endpoint pickers are told.

    counters, requests, responses: told of what happens. known: the models that there are.
    look: how these stand now.
    """

    registry: CollectorRegistry
    aggregated: CollectorRegistry
    counters: Counters
    requests: Requests
    responses: Responses
    known: Known
    look: Callable[[], dict[str, Standing]]
    vllm_names: bool = True

    def moment(self) -> Moment:
        """All as of now, without the series of models that are not there any more."""
        ids = self.known()
        self.requests.forget_others(ids)
        self.counters.forget_others(ids)
        requests = {model: each.copy() for model, each in self.requests.by_model.items()}
        by_model = ByModel(self.look(), requests, vllm_names=self.vllm_names)
        return Moment(list(self.registry.collect()), by_model)


def make_metrics(
    registry: CollectorRegistry,
    engine: Engine,
    pool: Pool,
    known: Known,
    *,
    vllm_names: bool = True,
) -> Metrics:
    """Fills a registry of the app's own, so that two in a process do not count for each other."""
    counters, aggregated = Counters(registry), CollectorRegistry()
    counters.begin(device.name for device in engine.devices)
    look = partial(standings, engine, pool, known)
    registry.register(Gauges(engine, pool, counters, known))
    aggregated.register(Aggregated(look))
    ProcessCollector(registry=registry)
    pool.observe(counters)
    responses = Responses(registry)
    return Metrics(registry, aggregated, counters, Requests(), responses, known, look, vllm_names)
