"""Whether a checkpoint's files are still those that were read, at the price of a stat each."""

from pathlib import Path

from engine.checkpoint.checkpoint import Checkpoint

Stamp = tuple[int, int, int]
"""What a change of a file changes: inode, size, modification time in nanoseconds."""

Stamps = tuple[tuple[str, Stamp], ...]
"""Of everything that a checkpoint was read from, by path."""


def stamps_of(checkpoint: Checkpoint) -> Stamps:
    """As the files were when they were read; what was changed since is not current."""
    return tuple((str(path), stamp) for path, stamp in checkpoint.read_from)


def are_current(stamps: Stamps) -> bool:
    """Whether none of these files was changed, replaced or removed."""
    return all(_stamp_at(path) == stamp for path, stamp in stamps)


def _stamp_at(path: str) -> Stamp | None:
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
