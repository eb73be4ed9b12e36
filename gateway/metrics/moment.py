from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway.metrics.by_model import ByModel


@dataclass(frozen=True, eq=False)
class Moment(Collector):
    """What there is to tell as of one moment: encoders take it for a registry, on any thread."""

    counted: Sequence[Metric]
    by_model: ByModel

    def collect(self) -> Iterator[Metric]:
        yield from self.counted
        yield from self.by_model.collect()
