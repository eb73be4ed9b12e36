"""Every metric that a gateway tells of, whether anything has happened yet or not."""

from pathlib import Path
from typing import NamedTuple

from gateway.app import create_app
from gateway.config import Settings
from gateway.config.source import Source
from gateway.metrics import Metrics
from gateway.reload import Reloader
from tests.gateway.fakes import FakeEngine


class Told(NamedTuple):
    """labels: those of a histogram without `le`."""

    kind: str
    labels: tuple[str, ...]
    help: str


def told(folder: Path) -> dict[str, Told]:
    """By name, as samples have it, but for a histogram's endings; without the process's own."""
    settings = Settings(models_dir=folder, memory=1000)
    services = create_app(settings, FakeEngine()).state.services
    Reloader(services, Source(lambda: settings))
    found = _told(services.metrics)
    return {name: each for name, each in found.items() if not name.startswith("process_")}


def _told(metrics: Metrics) -> dict[str, Told]:
    found = {}
    for collector in [*metrics.registry._collector_to_names, metrics.moment().by_model]:
        for metric in collector.collect():
            labels = getattr(metric, "_labelnames", None) or getattr(collector, "_labelnames", ())
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            found[name] = Told(metric.type, tuple(labels), metric.documentation)
    return found
