import os
import subprocess
import sys
from pathlib import Path

from engine.run_folder import make_run_folder


def test_only_this_user_may_enter(tmp_path: Path):
    """The folder is new, named after the process, and private."""
    folder = make_run_folder(tmp_path)

    assert folder.name.startswith(f"roundhouse-{os.getpid()}-")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    """Folders of the dead go, with their sockets; those of the living and others' stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"roundhouse-{dead.pid}-abc"
    left.mkdir()
    (left / "worker-0.sock").touch()
    living = make_run_folder(tmp_path)
    other = tmp_path / "roundhouse-notes"
    other.mkdir()
    make_run_folder(tmp_path)

    assert not left.exists()
    assert living.exists()
    assert other.exists()


def test_a_link_is_not_followed(tmp_path: Path):
    """Somebody's link with such a name removes nothing."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / f"roundhouse-{dead.pid}-x").symlink_to(precious)
    make_run_folder(tmp_path)

    assert precious.exists()
