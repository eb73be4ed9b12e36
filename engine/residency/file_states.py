"""Whether anything that a checkpoint could be read from is as it was, at the price of a stat each."""

import os
import re
from collections.abc import Iterator
from itertools import islice

MAX_FILES = 4096
"""Of a folder and of the folders in it; of one with more nothing is said."""

State = tuple[tuple[str, int, int, int, int], ...]
"""Paths, inodes, sizes, and when contents were modified and anything was changed, in nanoseconds."""

_FIRST_PART = re.compile(r"(?P<stem>.+)-00001-of-(?P<total>0\d{4})\.gguf", re.DOTALL)


def state_of(path: str) -> State | None:
    """Of a file with the parts that follow it, or of all in a folder; None where there is none.

    Time of change is among it: nobody puts it back who has written to a file.
    """
    try:
        found = tuple(_state_at(each) for each in islice(_paths(path), MAX_FILES + 1))
    except OSError:
        return None
    return found if len(found) <= MAX_FILES else None


def _paths(path: str, depth: int = 2) -> Iterator[str]:
    """depth: of folders to look into; modules of sentence-transformers are folders of a folder."""
    yield path
    if part := _FIRST_PART.fullmatch(path):
        stem, total = part["stem"], part["total"]
        yield from (f"{stem}-{number:05}-of-{total}.gguf" for number in range(2, int(total) + 1))
    if depth and os.path.isdir(path):  # noqa: PTH112  # paths are text here, as they are kept
        with os.scandir(path) as entries:
            inner = sorted(entry.path for entry in islice(entries, MAX_FILES + 1))
        for each in inner:
            yield from _paths(each, depth - 1)


def _state_at(path: str) -> tuple[str, int, int, int, int]:
    status = os.stat(path)  # noqa: PTH116
    return path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
