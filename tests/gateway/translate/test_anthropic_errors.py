import pytest

from gateway.errors import (
    GatewayError,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    ModelNotReady,
    ModelTooLarge,
    QueueFull,
    ShuttingDown,
    problem_of,
)
from gateway.translate.anthropic_errors import shape_problem


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("x", "top_p"), 400, "invalid_request_error"),
        (ModelNotFound("x"), 404, "not_found_error"),
        (QueueFull("x"), 429, "rate_limit_error"),
        (ModelNotReady("x"), 529, "overloaded_error"),
        (ShuttingDown("x"), 529, "overloaded_error"),
        (ModelLoadFailed("x"), 503, "api_error"),
        (ModelTooLarge("x"), 507, "api_error"),
        (ValueError("secret"), 500, "api_error"),
    ],
)
def test_errors_in_anthropics_words(error: GatewayError, status, kind):
    """What passes by itself is an overload; what does not is not called so."""
    got, body = shape_problem(problem_of(error))

    assert (got, body.error.type) == (status, kind)
    assert "secret" not in body.error.message
