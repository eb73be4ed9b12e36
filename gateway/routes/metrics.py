from typing import Any

from litestar import Controller, Request, Response, get
from prometheus_client.exposition import choose_encoder

from gateway.routes.services import services_of


class MetricsController(Controller):
    @get("/metrics", sync_to_thread=False)
    def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """In Prometheus' text format, or OpenMetrics where that is asked for.

        On the event loop, where all that is counted changes: a scrape sees one moment.
        """
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(
            encode(services_of(request).registry), headers={"content-type": content_type}
        )
