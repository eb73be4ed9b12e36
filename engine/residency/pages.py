"""Pages of mapped files: whether they are in memory, back if they are not, and let go of."""

import ctypes
import mmap
import sys
from functools import cache

import numpy as np

from engine.kernels.weight import Weight
from engine.nn.model import Model
from engine.nn.module import parameters

_POPULATE_READ = 22
"""MADV_POPULATE_READ, of Linux 5.14, which Python 3.11 has no name for."""


def bring_back(model: Model) -> int:
    """Reads what the system took of a model's image; how many pages that was.

    Blocks while the disk is read, without the GIL; a step would wait for it page by page. Asking
    costs a millisecond for a gigabyte, a walk through pages that are there forty times as much.
    """
    address, num_bytes = _extent(model)
    missing = _missing(address, num_bytes)
    if missing:
        # where the kernel is too old for it, the first step reads the pages
        _libc().madvise(address, num_bytes, _POPULATE_READ)
    return missing


def let_go(model: Model) -> None:
    """Unmaps the pages of a model's image; whoever reads one all the same gets it back.

    The end of a map does so, too, but holds the GIL meanwhile: 30 milliseconds for a gigabyte, and
    more where the thread has to wait for a core. No other model takes a step in that time.
    """
    _unmap(*_extent(model))


def let_go_of_view(view: memoryview) -> None:
    """As `let_go`, of a mapped file."""
    bytes_of = np.frombuffer(view, np.uint8)
    _unmap(bytes_of.ctypes.data, bytes_of.nbytes)


def _unmap(address: int, num_bytes: int) -> None:
    """address: where a map begins that is shared with a file, so that nothing is lost."""
    if sys.platform == "linux":  # elsewhere it may mean less, or more
        _libc().madvise(address, num_bytes, mmap.MADV_DONTNEED)


def _extent(model: Model) -> tuple[int, int]:
    """Of the map that all parameters are views of."""
    value = next(parameters(model)).get()
    storage = (value.data if isinstance(value, Weight) else value).untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def _missing(address: int, num_bytes: int) -> int:
    """Pages that are not in memory; 0 where the system does not say."""
    states = np.ones(-(-num_bytes // mmap.PAGESIZE), np.uint8)
    if _libc().mincore(address, num_bytes, states.ctypes.data) != 0:
        return 0
    return int(np.count_nonzero(states & 1 == 0))


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return libc
