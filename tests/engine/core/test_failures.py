"""Foreign exceptions in the engine's words."""

import errno

import pytest

from engine.api import EngineError, Failure
from engine.core.failures import failure_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried"), "out_of_memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out_of_memory"),
        (OSError(errno.EIO, "alloc"), "internal"),
        (RuntimeError("shape '[2]' is invalid"), "internal"),
        (KeyError("alloc"), "internal"),
    ],
    ids=str,
)
def test_only_allocators_run_out_of_memory(error, code):
    """Everything else that is not ours is a bug of ours."""
    assert failure_of(error).code == code


def test_our_own_errors_keep_their_words():
    """Code, message and parameter pass through."""
    error = EngineError("bad_request", "no", "prompt")

    assert failure_of(error) == Failure("bad_request", "no", "prompt")


def test_foreign_words_are_not_passed_on():
    """They may hold paths and values that are nobody's business; the log has them."""
    assert "secret" not in failure_of(ValueError("secret")).message
