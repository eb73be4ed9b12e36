"""Pages of mapped files: whether they are in memory, back if they are not, and let go of."""

import contextlib
import ctypes
import mmap
import os
import sys
from functools import cache

import numpy as np
from torch import Tensor

from engine.kernels.weight import Weight
from engine.nn.model import Model
from engine.nn.module import parameters
from engine.residency.image_file import write_all

_MAP_FIXED = 0x10

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


def prefer_huge(mapped: mmap.mmap) -> None:
    """Asks for pages of 2 MB where the system has to read the file.

    Weights that rested for a while are read at half the speed where each 4 KB has a page of its own:
    the tables of those pages have left the caches, too.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel without them
            mapped.madvise(mmap.MADV_HUGEPAGE)


def populate(mapped: mmap.mmap) -> None:
    """Maps pages of a file that are in memory: a first step would do it sixteen at a time."""
    _libc().madvise(*_extent_of(mapped), _POPULATE_READ)


def keep_in_memory(mapped: mmap.mmap) -> None:
    """Puts memory in the place of a mapped file whose disk has failed, with the same bytes.

    The system may drop pages that it could not write, and read them again from what the disk holds.
    In one system call, so that whoever computes with them sees no difference. Raises `OSError`.
    """
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC)
    try:
        with memoryview(mapped) as content:
            write_all(descriptor, [content], 0)
        address, num_bytes = _extent_of(mapped)
        flags = mmap.MAP_SHARED | _MAP_FIXED
        if _libc().mmap(address, num_bytes, mmap.PROT_READ, flags, descriptor, 0) != address:
            raise OSError(ctypes.get_errno(), "the map of an image cannot be replaced")
    finally:
        os.close(descriptor)


def let_go(model: Model) -> None:
    """Unmaps the pages of a model's image; whoever reads one all the same gets it back.

    The end of a map does so, too, but holds the GIL meanwhile: 30 milliseconds for a gigabyte, and
    more where the thread has to wait for a core. No other model takes a step in that time.
    """
    _unmap(*_extent(model))


def let_go_of_bytes(mapped: Tensor) -> None:
    """As `let_go`, of all bytes of a mapped file."""
    _unmap(mapped.data_ptr(), mapped.nbytes)


def let_go_of_view(view: memoryview) -> None:
    """As `let_go`, of a mapped file."""
    _unmap(*_extent_of(view))


def _unmap(address: int, num_bytes: int) -> None:
    """address: where a map begins that is shared with a file, so that nothing is lost."""
    if sys.platform == "linux":  # elsewhere it may mean less, or more
        _libc().madvise(address, num_bytes, mmap.MADV_DONTNEED)


def _extent(model: Model) -> tuple[int, int]:
    """Of the map that all parameters are views of."""
    value = next(parameters(model)).get()
    storage = (value.data if isinstance(value, Weight) else value).untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def _extent_of(buffer: mmap.mmap | memoryview) -> tuple[int, int]:
    bytes_of = np.frombuffer(buffer, np.uint8)
    return bytes_of.ctypes.data, bytes_of.nbytes


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
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    )
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return libc
