import contextlib
import ctypes
import gc
import os
from pathlib import Path


def give_back_memory() -> None:
    """Returns to the system what dropped models held; takes milliseconds.

    Collecting looks only at what came since `keep_what_is_here`: some thousand objects of a model.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)


def keep_what_is_here() -> None:
    """Takes what was imported out of all collections to come: 0.1 seconds each, with the GIL held.

    Once, and before there are models: what is in a cycle, and was kept so, would never be freed.
    """
    gc.collect()
    gc.freeze()


class Unreclaimed:
    """Memory of the process that did not come back with what left it: `num_bytes`, as last seen."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._at_first = private_bytes()

    def look(self, kept_bytes: int) -> None:
        """Now that nothing but `kept_bytes` should be here beside what was at first."""
        self.num_bytes = max(0, private_bytes() - self._at_first - kept_bytes)


def private_bytes() -> int:
    """Memory that the process holds and no file does; 0 where the system does not say (proc(5))."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return 0
