import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.checkpoint.errors import CheckpointError

# What a download that went wrong, or a file of another kind, begins with.
_FOREIGN = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"<", "is a web page or XML, not a model: a failed download?"),
    (b"PK\x03\x04", "is a zip archive, as pickled PyTorch checkpoints are: never opened"),
    (b"\x80", "is a Python pickle: never opened, since that would run its code"),
)


class SourceFile:
    """A regular file of a checkpoint: bounded reads, and one read-only map made on first `view`.

    No descriptor is held between reads. A file that is no longer the one first seen (device, inode,
    size, modification time) raises `CheckpointError`, as every `OSError` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as descriptor:
            status = os.fstat(descriptor)
        self.size = status.st_size
        self._identity = _identity(status)
        self._map: memoryview | None = None

    @property
    def stamp(self) -> tuple[int, int, int]:
        """What a change of the file changes: inode, size, modification time in nanoseconds."""
        return self._identity[1:]

    def error(self, what: str, offset: int | None = None) -> CheckpointError:
        """An error to raise about this file; `offset` is the byte at which it is wrong."""
        where = "" if offset is None else f" (at byte {offset})"
        return CheckpointError(f"{self.path.name}: {what}{where}")

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes. The caller has checked that they lie inside the file."""
        parts = []
        with self._opened_unchanged() as descriptor:
            # One pread may give less than was asked, and never gives more than 2 GiB.
            while size > 0 and (part := os.pread(descriptor, size, offset)):
                parts.append(part)
                offset += len(part)
                size -= len(part)
        if size > 0:
            raise self.error("ended while it was read", offset)
        return b"".join(parts)

    def view(self, offset: int, size: int) -> memoryview:
        """Bytes of the mapped file, read-only; they live as long as the view does."""
        if size == 0:
            return memoryview(b"")
        if self._map is None:
            with self._opened_unchanged() as descriptor:
                self._map = memoryview(mmap.mmap(descriptor, self.size, access=mmap.ACCESS_READ))
        return self._map[offset : offset + size]

    def forget_map(self) -> None:
        # Not mmap.close(): it fails while views are out. The memory goes with the last of them.
        self._map = None

    def refuse_foreign(self) -> None:
        """Raises for what is often found in a model file's place, by what it begins with."""
        if self.size == 0:
            raise self.error("is empty")
        head = self.read_at(0, min(self.size, 64)).lstrip(b" \t\r\n\xef\xbb\xbf")
        for prefix, what in _FOREIGN:
            if head.startswith(prefix):
                raise self.error(what)

    @contextmanager
    def _opened_unchanged(self) -> Iterator[int]:
        with self._opened() as descriptor:
            if _identity(os.fstat(descriptor)) != self._identity:
                raise self.error("changed since it was opened")
            yield descriptor

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            # Without O_NONBLOCK opening a named pipe would wait for a writer for ever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise self.error("is not a regular file")
                yield descriptor
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise self.error(f"cannot be read: {reason}") from error


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
