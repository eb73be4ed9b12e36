"""Whether OpenTelemetry is told of requests."""

from msgspec import Struct


class TracesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """otlp: sends traces and GenAI's metrics where the OTEL_* variables say.

    None: if OTEL_EXPORTER_OTLP_ENDPOINT, or one of its kind for traces or metrics, is set.
    """

    otlp: bool | None = None
