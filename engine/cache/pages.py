"""Which pages of a tensor its rows take, and giving back those that nothing needs."""

import ctypes
import mmap
from collections.abc import Collection, Sequence
from functools import cache

from torch import Tensor

Span = tuple[int, int]
"""From a first to behind a last one."""


def spans_of(rows: Collection[int]) -> list[Span]:
    """The stretches that these rows make, in order, each as long as it can be."""
    spans: list[Span] = []
    for row in sorted(rows):
        if spans and spans[-1][1] == row:
            spans[-1] = spans[-1][0], row + 1
        else:
            spans.append((row, row + 1))
    return spans


def whole_pages(address: int, span: Span, row_bytes: int, page_bytes: int) -> Span:
    """Addresses of the pages that lie wholly in these rows of what begins at `address`."""
    first, last = (address + row * row_bytes for row in span)
    start, end = -(-first // page_bytes) * page_bytes, last // page_bytes * page_bytes
    return start, max(start, end)


def give_back_rows(tensor: Tensor, blank: Sequence[Span]) -> int:
    """Returns the pages of blank rows to the system; how many of the tensor's bytes it may keep.

    tensor: contiguous, on the CPU, in private memory; its blank rows may hold anything afterwards.
    """
    if not tensor.nbytes:
        return 0
    row_bytes = tensor.nbytes // len(tensor)
    given = 0
    for span in blank:
        start, end = whole_pages(tensor.data_ptr(), span, row_bytes, mmap.PAGESIZE)
        if start < end and _discard(start, end - start):
            given += end - start
    return tensor.nbytes - given


def _discard(address: int, num_bytes: int) -> bool:
    """Whether the system took the pages; where it cannot, they stay and are counted."""
    advice = getattr(mmap, "MADV_DONTNEED", None)  # Linux: private pages are gone at once
    return advice is not None and _libc().madvise(address, num_bytes, advice) == 0


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return libc
