"""Memory that the system gives page by page as it is written, and gets back at once."""

import contextlib
import mmap

import torch
from torch import Tensor


def zero_pages(num_bytes: int, *, huge: bool = False) -> Tensor:
    """Zeros, uint8, (num_bytes,), on the CPU; gone with the last view of them.

    huge: in huge pages where the system has some.

    For what is large and may stay empty: torch would write the zeros, at the price of every page.
    Not the allocator's: that fills what it has kept with zeros, too, and keeps what was freed.
    """
    if num_bytes == 0:
        return torch.zeros(0, dtype=torch.uint8)
    pages = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)
