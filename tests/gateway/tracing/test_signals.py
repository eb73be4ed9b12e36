import pytest

from gateway.tracing.signals import signals_of

ALL = {"traces", "metrics"}
NAMED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("wanted", "environ", "expected"),
    [
        (None, {}, set()),
        (True, {}, ALL),
        (None, NAMED, ALL),
        (False, NAMED, set()),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector"}, {"traces"}),
        (None, NAMED | {"OTEL_METRICS_EXPORTER": "none"}, {"traces"}),
        (None, NAMED | {"OTEL_TRACES_EXPORTER": "console"}, {"metrics"}),
        (True, NAMED | {"OTEL_SDK_DISABLED": "TRUE"}, set()),
    ],
)
def test_what_is_sent(wanted, environ, expected):
    """OpenTelemetry's own variables, unless the settings say otherwise."""
    assert signals_of(wanted, environ) == expected
