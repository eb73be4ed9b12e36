"""What a worker asks of the operating system."""

import contextlib
import ctypes
import gc
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends. Linux only."""
    with contextlib.suppress(OSError, AttributeError):  # elsewhere the control channel has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_back_memory() -> None:
    """Returns to the system what dropped models held; takes tens of milliseconds."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
