import asyncio
from typing import Any, cast

from litestar import Controller, Request, Response, get
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway.openapi.operation import as_text, operation
from gateway.routes.services import services_of


class MetricsController(Controller):
    @get(
        "/metrics",
        opt=operation(
            "read_metrics",
            "Counters and gauges for Prometheus",
            "Server",
            as_text("text/plain"),
            as_text("application/openmetrics-text"),
            scope="metrics",
        ),
    )
    async def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """In Prometheus' text format, or OpenMetrics where that is asked for.

        What is counted changes on the event loop, so a scrape sees one moment; it is written in a
        thread, since that takes milliseconds for each model, and streams would wait.
        """
        moment = services_of(request).metrics.moment()
        return await asyncio.to_thread(_told, request, moment)

    @get(
        "/metrics/epp",
        sync_to_thread=False,
        opt=operation(
            "read_metrics_for_pickers",
            "What endpoint pickers read, one series each",
            "Server",
            as_text("text/plain"),
            as_text("application/openmetrics-text"),
            scope="metrics",
        ),
    )
    def for_pickers(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """All models together, by vLLM's names: pickers of endpoints read the first series only."""
        return _told(request, services_of(request).metrics.aggregated)


def _told(request: Request[Any, Any, Any], collector: Collector) -> Response[bytes]:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    told = encode(cast("CollectorRegistry", collector))  # it only asks it to collect
    return Response(told, headers={"content-type": content_type})
