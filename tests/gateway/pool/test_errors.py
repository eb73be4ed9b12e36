import pytest

from gateway.pool import (
    LoadFailedError,
    ModelUnloaded,
    PinnedModelsInTheWay,
    PoolError,
    QueueFull,
    TooLargeForDevice,
    WaitExceeded,
)
from gateway.pool.actions import (
    CannotFit,
    CannotLoad,
    OnlyPinnedLeft,
    QueueIsFull,
    Refusal,
    Unloaded,
    WaitedTooLong,
)
from gateway.pool.errors import error_of


@pytest.mark.parametrize(
    ("refusal", "error", "retry_after_seconds"),
    [
        (QueueIsFull(256, 256), QueueFull, 5),
        (WaitedTooLong(300.0), WaitExceeded, 30),
        (CannotFit(200, 100), TooLargeForDevice, None),
        (OnlyPinnedLeft(200, 100), PinnedModelsInTheWay, None),
        (Unloaded(), ModelUnloaded, 1),
        (CannotLoad("bad_checkpoint", "cut short", 0.0), LoadFailedError, 1),
        (CannotLoad("bad_checkpoint", "cut short", 7.2), LoadFailedError, 8),
        (CannotLoad("bad_checkpoint", "cut short", 999.0), LoadFailedError, 120),
    ],
)
def test_each_refusal_has_its_error(
    refusal: Refusal, error: type[PoolError], retry_after_seconds: int | None
):
    """Refusals become errors that name the model and say when trying again makes sense."""
    found = error_of("org/model", refusal)

    assert type(found) is error
    assert "org/model" in found.message
    assert found.retry_after_seconds == retry_after_seconds


def test_too_large_names_both_sizes():
    """Who is refused for size learns what is needed and what there is."""
    found = error_of("m", CannotFit(needed=200, available=100))

    assert isinstance(found, TooLargeForDevice)
    assert (found.needed, found.available) == (200, 100)


def test_a_failed_load_keeps_the_engines_code():
    """The engine's own code and words are passed on."""
    found = error_of("m", CannotLoad("out_of_memory", "full", 0.0))

    assert isinstance(found, LoadFailedError)
    assert (found.code, found.reason) == ("out_of_memory", "full")
