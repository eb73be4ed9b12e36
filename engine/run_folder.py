"""The folder of a running engine's sockets, and those that killed ones left behind."""

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

_NAME = re.compile(r"roundhouse-(\d+)-")


def make_run_folder(parent: Path | None = None) -> Path:
    """A new folder that only this user may enter, named after this process.

    Removes the folders of processes that are gone: whoever is killed outright cannot do it.
    """
    parent = parent or Path(tempfile.gettempdir())
    for folder in parent.glob("roundhouse-*"):
        found = _NAME.match(folder.name)
        if found and not _is_alive(int(found[1])) and _is_ours(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"roundhouse-{os.getpid()}-", dir=parent))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _is_ours(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
    return False
