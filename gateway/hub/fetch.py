"""One file's bytes onto the disk, whatever happens to the connection."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gateway.hub.digest import is_intact
from gateway.hub.errors import HubError, Transient
from gateway.hub.files import RemoteFile
from gateway.hub.remote import Remote
from gateway.hub.reports import Progress, Report, Retrying, Verified, Verifying
from gateway.hub.retries import Retries

MAX_ROUNDS = 2
"""How often a file is fetched whole before it is called corrupt."""

Tell = Callable[[Report], None]
Pause = Callable[[float], None]


class Fetcher:
    """Fetches files of a repository at a commit. pause: waits between tries."""

    def __init__(
        self, remote: Remote, repo: str, commit: str, tell: Tell, pause: Pause = time.sleep
    ) -> None:
        self._remote = remote
        self._repo = repo
        self._commit = commit
        self._tell = tell
        self._pause = pause

    def fetch(self, file: RemoteFile, partial: Path, whole: Path) -> None:
        """Has the file at `whole`, checked and on the disk. Goes on from what `partial` has.

        Raises `HubError`; the partial file then stays for the next time, unless it is wrong.
        """
        for _ in range(MAX_ROUNDS):
            with writing(partial):
                self._fill(file, partial)
            self._tell(Verifying(file.path))
            if is_intact(partial, file):
                partial.replace(whole)
                sync_folder(whole.parent)
                self._tell(Verified(file.path))
                return
            partial.unlink()
        raise HubError(
            "corrupt", f"{file.path} of {self._repo} arrives with other bytes than the hub lists"
        )

    def _fill(self, file: RemoteFile, partial: Path) -> None:
        retries = Retries()
        partial.touch()
        with partial.open("r+b") as sink:
            if sink.seek(0, os.SEEK_END) > file.num_bytes:
                _empty(sink)
            self._say(file, sink)
            while sink.tell() < file.num_bytes:
                before = sink.tell()
                try:
                    self._read_on(file, sink)
                except Transient as error:
                    if sink.tell() > before:
                        retries.succeeded()
                    seconds = retries.pause_after(error)
                    self._tell(Retrying(file.path, error.message, seconds))
                    self._pause(seconds)
            sink.flush()
            os.fsync(sink.fileno())

    def _read_on(self, file: RemoteFile, sink: BinaryIO) -> None:
        start = sink.tell()
        with self._remote.read(self._repo, self._commit, file, start) as (first, chunks):
            if first != start:  # the server knows no ranges, or gives another one
                _empty(sink)
                if first != 0:
                    raise Transient(f"{file.path} came from byte {first} on, not from {start}")
            for chunk in chunks:
                if sink.tell() + len(chunk) > file.num_bytes:
                    _empty(sink)
                    raise Transient(f"{file.path} came longer than its {file.num_bytes} bytes")
                sink.write(chunk)
                self._say(file, sink)
        if sink.tell() < file.num_bytes:
            raise Transient(f"{file.path} ended after {sink.tell()} of {file.num_bytes} bytes")

    def _say(self, file: RemoteFile, sink: BinaryIO) -> None:
        self._tell(Progress(file.path, sink.tell(), file.num_bytes, file.key))


def _empty(sink: BinaryIO) -> None:
    sink.seek(0)
    sink.truncate()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Converts what the file system says."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            text = f"the disk of {path.parent} is full: make room; the next pull goes on from here"
            raise HubError("disk_full", text) from None
        raise HubError("cannot_write", f"{error.filename or path}: {error.strerror}") from None


def sync_folder(folder: Path) -> None:
    """Has the names of a folder's files on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
