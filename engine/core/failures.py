"""Foreign exceptions, in the engine's own words."""

import errno

from engine.api import EngineError, Failure
from engine.devices.errors import is_sticky

_ALLOCATOR_WORDS = ("alloc", "out of memory")


def failure_of(error: BaseException) -> Failure:
    """What to tell whoever asked: its own words, out of memory, or a bug of ours."""
    if isinstance(error, EngineError):
        return Failure(error.code, error.message, error.param)
    if isinstance(error, MemoryError) or _is_allocator(error):
        return Failure("out_of_memory", "the device ran out of memory")
    return Failure("internal", f"an unexpected {type(error).__name__}")


def must_end(error: BaseException) -> bool:
    """A device answers nothing any more until this process has ended: it is better ended at once."""
    return is_sticky(error)


def _is_allocator(error: BaseException) -> bool:
    if isinstance(error, OSError):  # a map that the system refuses
        return error.errno == errno.ENOMEM
    # torch raises a bare RuntimeError where the CPU's allocator gives up
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in words for word in _ALLOCATOR_WORDS)
