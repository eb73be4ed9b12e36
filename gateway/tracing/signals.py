"""Which signals are sent, by the settings and OpenTelemetry's own variables."""

from collections.abc import Mapping
from typing import Literal

Signal = Literal["traces", "metrics"]

SIGNALS: tuple[Signal, ...] = ("traces", "metrics")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def signals_of(wanted: bool | None, environ: Mapping[str, str]) -> frozenset[Signal]:
    """wanted: by the settings; None for those that a collector is named for."""
    if wanted is False or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return frozenset()
    return frozenset(signal for signal in SIGNALS if _is_sent(signal, wanted, environ))


def _is_sent(signal: Signal, wanted: bool | None, environ: Mapping[str, str]) -> bool:
    if environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp") != "otlp":
        return False  # "none", or an exporter that we have not got
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    return bool(wanted or environ.get(ENDPOINT) or environ.get(own))
