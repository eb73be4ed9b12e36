"""The folder of images: found, built once, kept within a budget, and safe to delete at any time.

Who maps an image holds a shared lock on its file, who builds one an exclusive lock on its partial
file, until it is on the disk and has its name. Locks go with their process, so nothing that was
killed is ever waited for.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from engine.residency.image_file import DamagedImage
from engine.residency.loader import LoadCancelled
from engine.residency.write_behind import LOST, WriteBehind, Written, not_kept

T = TypeVar("T")

MAX_BYTES = 50 * 2**30
"""By default, and no more than half of the room that there would be without any image."""

_IMAGE, _PARTIAL = ".image", ".partial"
_WAIT_SECONDS = 0.05

log = structlog.get_logger()


class ImageStore:
    """A folder of images; without one, images are in memory alone and are built at every load."""

    def __init__(self, folder: Path | None, max_bytes: int | None = None) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._behind = WriteBehind()
        if folder is not None:
            with contextlib.suppress(OSError):
                _sweep(folder)

    @classmethod
    def of(cls, setting: str, max_bytes: int | None = None) -> "ImageStore":
        """As an operator says it: a folder, "auto" for the one in the user's cache, or "off"."""
        if setting == "off":
            return cls(None)
        try:
            folder = default_folder() if setting == "auto" else Path(setting).expanduser()
        except RuntimeError as error:  # a user without a home
            log.warning("image_not_kept", reason=str(error), lost=LOST)
            return cls(None)
        return cls(folder, max_bytes)

    @property
    def folder(self) -> Path | None:
        return self._folder

    def get(
        self,
        name: str,
        nbytes: int,
        read: Callable[[int], T],
        build: Callable[[int], None],
        cancelled: Callable[[], bool],
        *,
        unkept: Callable[[], None] = lambda: None,
    ) -> tuple[T, Path | None]:
        """What `read` makes of the image of that name, and where it is: nowhere if in memory alone.

        build: fills an empty file, given its descriptor, with `nbytes` bytes; called where there
        is no image or where `read` raises `DamagedImage`. Waits while another load builds it, and
        until that image is on the disk; not for the disk where it is built by this one, so the path
        may be that of a file to come. unkept: called on another thread where the disk failed after
        that, so that nothing relies on the file any more.
        """
        if self._folder is not None:
            path = self._folder / f"{name}{_IMAGE}"
            try:
                return self._kept(path, nbytes, read, build, cancelled, unkept=unkept), path
            except OSError as error:
                not_kept(path, error)
        return _in_memory(name, nbytes, read, build), None

    def wait(self) -> None:
        """Until all images that this process has built are on the disk, or could not be."""
        self._behind.wait()

    def _kept(
        self,
        path: Path,
        nbytes: int,
        read: Callable[[int], T],
        build: Callable[[int], None],
        cancelled: Callable[[], bool],
        *,
        unkept: Callable[[], None],
    ) -> T:
        found = _read(path, read)
        if found is not None:
            return found
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(_PARTIAL)
        with ExitStack() as held:
            descriptor = held.enter_context(_locked(partial, cancelled))
            found = _read(path, read)  # built while this one waited
            if found is not None:
                return found
            os.ftruncate(descriptor, 0)  # what a killed build left
            self._make_room(nbytes)
            _fill(descriptor, nbytes, build)
            built = read(descriptor)
            self._behind.start(Written(partial, path, descriptor, held.pop_all(), unkept))
        return built

    def _make_room(self, nbytes: int) -> None:
        """Removes images, those used longest ago first, until one of `nbytes` fits the budget."""
        assert self._folder is not None
        _sweep(self._folder)
        images = sorted(_files(self._folder, _IMAGE), key=lambda image: image[1].st_mtime_ns)
        coming = (status.st_size for _, status in _files(self._folder, _PARTIAL))
        kept = sum(status.st_size for _, status in images) + sum(coming)
        free = shutil.disk_usage(self._folder).free
        budget = (
            self._max_bytes if self._max_bytes is not None else min(MAX_BYTES, (kept + free) // 2)
        )
        for path, status in images:
            if kept + nbytes <= budget:
                break
            if nbytes <= budget and _remove_unused(path):
                log.info("image_removed", path=str(path), bytes=status.st_size)
                kept -= status.st_size
        if kept + nbytes > budget:
            raise OSError(errno.ENOSPC, f"{nbytes} bytes do not fit into the {budget} for images")


def default_folder() -> Path:
    """Below $XDG_CACHE_HOME, or ~/.cache."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "roundhouse/images"


def _read(path: Path, read: Callable[[int], T]) -> T | None:
    """None where there is no such image, or only a damaged one, which is removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):  # a folder that may only be read
            os.utime(descriptor)
        return read(descriptor)
    except DamagedImage as damage:
        log.warning("image_damaged", path=str(path), reason=str(damage))
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(descriptor)


def _in_memory(name: str, nbytes: int, read: Callable[[int], T], build: Callable[[int], None]) -> T:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, nbytes)
        build(descriptor)
        return read(descriptor)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, nbytes: int, build: Callable[[int], None]) -> None:
    os.posix_fallocate(descriptor, 0, nbytes)  # a full disk says so now
    build(descriptor)


@contextmanager
def _locked(partial: Path, cancelled: Callable[[], bool]) -> Iterator[int]:
    """The partial file, locked for its one builder; removed unless it was renamed."""
    descriptor = _acquire(partial)
    while descriptor is None:
        if cancelled():
            raise LoadCancelled
        time.sleep(_WAIT_SECONDS)
        descriptor = _acquire(partial)
    try:
        yield descriptor
    finally:
        if _is_at(descriptor, partial):
            partial.unlink()
        os.close(descriptor)


def _acquire(path: Path, *, create: bool = True) -> int | None:
    """The file with an exclusive lock, or None: it is taken, or was renamed at this moment."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _remove_unused(path: Path) -> bool:
    """Whether the file is gone: one that is mapped or being built stays."""
    try:
        descriptor = _acquire(path, create=False)
    except FileNotFoundError:
        return True
    except OSError:  # another user's
        return False
    if descriptor is None:
        return False
    try:
        path.unlink()
    finally:
        os.close(descriptor)
    return True


def _sweep(folder: Path) -> None:
    """Removes what killed builds left."""
    for partial in folder.glob(f"*{_PARTIAL}"):
        _remove_unused(partial)


def _files(folder: Path, suffix: str) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.glob(f"*{suffix}"):
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()
