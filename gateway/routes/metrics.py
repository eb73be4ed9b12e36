from typing import Any

from litestar import Controller, Request, Response, get
from prometheus_client.exposition import choose_encoder

from gateway.openapi.operation import as_text, operation
from gateway.routes.services import services_of


class MetricsController(Controller):
    @get(
        "/metrics",
        sync_to_thread=False,
        opt=operation(
            "read_metrics",
            "Counters and gauges for Prometheus",
            "Server",
            as_text("text/plain"),
            as_text("application/openmetrics-text"),
        ),
    )
    def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """In Prometheus' text format, or OpenMetrics where that is asked for.

        On the event loop, where all that is counted changes: a scrape sees one moment.
        """
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(
            encode(services_of(request).registry), headers={"content-type": content_type}
        )
