from prometheus_client import CollectorRegistry

from gateway.metrics.responses import MAX_CODES, Responses


def test_routes_methods_and_codes_are_bounded():
    """Paths that nothing answers, methods that nobody knows and codes of others are one series each."""
    registry = CollectorRegistry()
    responses = Responses(registry)

    for number in range(MAX_CODES + 5):
        responses.count("", f"METHOD{number}", 404, f"code{number}")

    labels = {"route": "none", "method": "other", "status": "404"}
    assert registry.get_sample_value("roundhouse_http_responses_total", labels) == MAX_CODES + 5
    assert registry.get_sample_value("roundhouse_errors_total", {"code": "other"}) == 5
