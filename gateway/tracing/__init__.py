"""Traces and GenAI's metrics over OTLP, with the extra `roundhouse[otel]`.

Without it, or where no collector is named, nothing of OpenTelemetry is imported.
"""

import os
from typing import TYPE_CHECKING

from gateway.config import SettingsError, TracesSettings
from gateway.tracing.signals import signals_of

if TYPE_CHECKING:
    from gateway.tracing.telemetry import Telemetry


def make_telemetry(settings: TracesSettings) -> "Telemetry | None":
    """A `JourneyObserver`, to be closed at the end; None where nothing is to be sent.

    The OTEL_* variables say where to, how much, and as whom (OpenTelemetry's specification of SDKs'
    environment variables). Raises `SettingsError` where the extra is missing.
    """
    signals = signals_of(settings.otlp, os.environ)
    if not signals:
        return None
    try:
        from gateway.tracing.telemetry import Telemetry
    except ImportError as error:
        raise SettingsError(
            f"[traces]: otlp: {error.name} is not installed: pip install 'roundhouse[otel]', or say "
            "otlp = false"
        ) from None
    return Telemetry(signals)
