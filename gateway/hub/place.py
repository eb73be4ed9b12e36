"""Where a repository's models lie, and what is kept of them in a hidden folder beside.

    models/org/name/Model-Q4_K_M.gguf
    models/org/name/.roundhouse/lock                 one pull or removal at a time
    models/org/name/.roundhouse/q4_k_m.json          what was asked for, and what came
    models/org/name/.roundhouse/partial/KEY          bytes that came so far, by content
    models/org/name/.roundhouse/partial/KEY.whole    all of them, checked

A scan of the models folder skips hidden names, so it never sees what is on its way.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.hub.fetch import sync_folder
from gateway.hub.files import RemoteFile
from gateway.hub.reference import Reference

HIDDEN = ".roundhouse"

_UNSAFE = re.compile(r"[^a-z0-9._-]")


class Kept(Struct, frozen=True):
    """A file that came. key: of its content."""

    path: str
    num_bytes: int
    key: str


class Record(Struct, frozen=True):
    """What a reference led to. model: its id within the folder."""

    revision: str
    commit: str
    model: str
    marker: str
    files: list[Kept]

    @property
    def total_bytes(self) -> int:
        return sum(file.num_bytes for file in self.files)


class Place:
    def __init__(self, models_dir: Path, repo: str) -> None:
        self.models_dir = models_dir
        self.repo = repo
        self.folder = models_dir / repo
        self._hidden = self.folder / HIDDEN
        self._partial = self._hidden / "partial"

    def partial(self, file: RemoteFile) -> Path:
        return self._partial / file.key

    def whole(self, file: RemoteFile) -> Path:
        return self._partial / f"{file.key}.whole"

    @contextmanager
    def locked(self, when_waiting: Callable[[], None]) -> Iterator[None]:
        """Nobody else changes the folder meanwhile. Blocks; what is empty afterwards goes."""
        descriptor = self._lock(when_waiting)
        try:
            self._partial.mkdir(exist_ok=True)
            yield
        finally:
            self._tidy()
            os.close(descriptor)

    def _lock(self, when_waiting: Callable[[], None]) -> int:
        """A lock is held by its file, which its last holder may have removed with the folder."""
        path = self._hidden / "lock"
        while True:
            try:
                self._hidden.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                when_waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)

    def _tidy(self) -> None:
        """Folders that hold nothing, up to the models folder; they are told by being empty."""
        with suppress(OSError):
            self._partial.rmdir()
        if not any(self._hidden.glob("*.json")) and not self._partial.exists():
            shutil.rmtree(self._hidden, ignore_errors=True)
        drop_empty(self.folder, self.models_dir)

    def forget_partial(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def record(self, reference: Reference) -> Record | None:
        return _read(self._record_path(reference))

    def records(self) -> dict[Path, Record]:
        """All of them, by their files; what cannot be read is none."""
        found = {path: _read(path) for path in sorted(self._hidden.glob("*.json"))}
        return {path: record for path, record in found.items() if record}

    def keep(self, reference: Reference, record: Record) -> None:
        """Replaces the record at once, or not at all."""
        path = self._record_path(reference)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(path)
        sync_folder(self._hidden)

    def has(self, record: Record) -> bool:
        """Whether all that came is still there, by its size."""
        return all(_size(self.folder / file.path) == file.num_bytes for file in record.files)

    def _record_path(self, reference: Reference) -> Path:
        choice = (reference.choice or "default").casefold()
        return self._hidden / f"{_UNSAFE.sub('-', choice)}.json"


def drop_empty(folder: Path, root: Path) -> None:
    """Removes a folder and those above it, below `root`, as long as they hold nothing."""
    with suppress(OSError):  # told by the first that holds something
        for empty in (folder, *folder.parents):
            if empty == root or root not in empty.parents:
                return
            empty.rmdir()


def _read(path: Path) -> Record | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
