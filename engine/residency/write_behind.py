"""Files that are in use already, on their way to the disk.

A crash of the system loses what was not synced, so a file gets its name after it was. Nobody waits
for that: what was written is read from memory meanwhile.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

LOST = "the next load must build it again, and no process shares it"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Written:
    """An open file with all its bytes, locked exclusively, and not yet on the disk.

    held: its descriptor and its lock, with what removes `partial` unless that was renamed. lost:
    called where the disk fails, for the system may then forget what it had in memory of the file.
    """

    partial: Path
    path: Path
    descriptor: int
    held: ExitStack
    lost: Callable[[], None]

    def finish(self) -> None:
        """Syncs and renames the file; says in the log why it could not be kept."""
        with self.held:
            try:
                os.fsync(self.descriptor)
            except OSError as error:
                not_kept(self.path, error)
                self._save()
                return
            try:
                self._rename()
            except OSError as error:  # somebody removed it, as anyone may: what is mapped stays
                not_kept(self.path, error)

    def _rename(self) -> None:
        self.partial.replace(self.path)
        sync_folder(self.path.parent)
        # Others may read it from now on. It is still no one's to remove while it is mapped.
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def _save(self) -> None:
        try:
            self.lost()
        except OSError as error:
            why = error.strerror or str(error)
            log.error("image_at_risk", path=str(self.path), reason=why)  # noqa: TRY400  # no bug


class WriteBehind:
    """Threads that finish files, one for each. Any thread may call.

    They are as nice as the threads that they were started by, and Python ends after them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def start(self, written: Written) -> None:
        thread = threading.Thread(target=written.finish, name=f"write {written.path.name}")
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()]
            try:
                thread.start()
            except RuntimeError:  # no more threads are to be had: then it is waited for
                written.finish()
                return
            self._threads.append(thread)

    def wait(self) -> None:
        """Until everything that was started has ended."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()


def not_kept(path: Path, error: OSError) -> None:
    log.warning("image_not_kept", path=str(path), reason=error.strerror or str(error), lost=LOST)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
