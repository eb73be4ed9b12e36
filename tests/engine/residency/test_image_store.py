import errno
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import structlog

from engine.residency.image_file import DamagedImage
from engine.residency.image_store import ImageStore, default_folder
from engine.residency.loader import LoadCancelled
from tests.engine.residency.images import kept

SIZE = 1000


def never() -> bool:
    return False


def read(descriptor: int) -> bytes:
    content = os.pread(descriptor, SIZE, 0)
    if not content.startswith(b"image"):
        raise DamagedImage("not an image")
    return content


def read_and_hold(held: list[int], descriptor: int) -> bytes:
    """As a map does: a duplicate keeps the lock."""
    held.append(os.dup(descriptor))
    return read(descriptor)


def build(descriptor: int) -> None:
    os.pwrite(descriptor, b"image", 0)


def get(store: ImageStore, name: str = "a", *, read=read, build=build, cancelled=never):
    """What is there once everything is on the disk."""
    found = store.get(name, SIZE, read, build, cancelled)
    store.wait()
    return found


def refuse(descriptor: int) -> None:
    raise AssertionError("nothing needs to be built")


def test_an_image_is_built_once(tmp_path):
    """Then it is only read."""
    content, path = get(ImageStore(tmp_path))

    assert get(ImageStore(tmp_path), build=refuse) == (content, path)
    assert path == tmp_path / "a.image"
    assert path.stat().st_size == SIZE


def test_folders_and_images_are_private(tmp_path):
    """Weights may be anyone's secret."""
    _, path = get(ImageStore(tmp_path / "new/images"))

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_damaged_image_is_replaced(tmp_path):
    """And it is logged once."""
    (tmp_path / "a.image").write_bytes(b"rubbish")

    with structlog.testing.capture_logs() as logs:
        content, _ = get(ImageStore(tmp_path))
    assert content.startswith(b"image")
    assert [entry["event"] for entry in logs] == ["image_damaged"]


def test_without_a_folder_images_are_in_memory():
    """Nothing is lost that was asked for, so nothing is logged."""
    with structlog.testing.capture_logs() as logs:
        content, path = get(ImageStore(None))

    assert content.startswith(b"image")
    assert path is None
    assert logs == []


def fail(number: int, descriptor: int) -> None:
    if os.fstat(descriptor).st_nlink:  # a file, no memory
        raise OSError(number, os.strerror(number))
    build(descriptor)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failing_disk_is_done_without(tmp_path, number):
    """The image is in memory, the log says why, and the disk holds nothing of it."""
    with structlog.testing.capture_logs() as logs:
        content, path = get(ImageStore(tmp_path), build=partial(fail, number))

    assert content.startswith(b"image")
    assert path is None
    assert logs[0]["event"] == "image_not_kept"
    assert logs[0]["reason"] == os.strerror(number)
    assert kept(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    """Here a file is in its place."""
    (tmp_path / "file").touch()

    content, path = get(ImageStore(tmp_path / "file/images"))
    assert content.startswith(b"image")
    assert path is None


def test_a_cancelled_build_leaves_nothing(tmp_path):
    """Not even its partial file."""

    def cancel(descriptor: int) -> None:
        raise LoadCancelled

    with pytest.raises(LoadCancelled):
        get(ImageStore(tmp_path), build=cancel)
    assert kept(tmp_path) == []


def test_killed_builds_are_swept(tmp_path):
    """Partial files that nobody builds go at the next start; one that is being built stays."""
    (tmp_path / "dead.partial").write_bytes(b"half")

    def start_another(descriptor: int) -> None:
        ImageStore(tmp_path)
        assert kept(tmp_path) == ["a.partial"]
        build(descriptor)

    get(ImageStore(tmp_path), build=start_another)
    assert kept(tmp_path) == ["a.image"]


def test_what_a_killed_build_left_is_built_over(tmp_path):
    """However long it was."""
    store = ImageStore(tmp_path)
    (tmp_path / "a.partial").write_bytes(b"x" * 5 * SIZE)

    content, path = get(store)
    assert content.startswith(b"image\0")
    assert path.stat().st_size == SIZE


def test_two_loads_build_once(tmp_path):
    """The second waits and reads what the first built."""
    building, go_on = threading.Event(), threading.Event()
    waiting = threading.Event()
    found: list[bytes] = []

    def slowly(descriptor: int) -> None:
        building.set()
        go_on.wait()
        build(descriptor)

    def waits() -> bool:
        waiting.set()
        return False

    first = threading.Thread(
        target=lambda: found.append(get(ImageStore(tmp_path), build=slowly)[0])
    )
    first.start()
    building.wait()
    second = threading.Thread(
        target=lambda: found.append(get(ImageStore(tmp_path), build=refuse, cancelled=waits)[0])
    )
    second.start()
    waiting.wait()
    go_on.set()
    first.join()
    second.join()

    assert len(found) == 2
    assert found[0] == found[1]


def test_waiting_can_be_cancelled(tmp_path):
    """While another one builds."""

    def meanwhile(descriptor: int) -> None:
        with pytest.raises(LoadCancelled):
            get(ImageStore(tmp_path), build=refuse, cancelled=lambda: True)
        build(descriptor)

    get(ImageStore(tmp_path), build=meanwhile)


KILLED = """
import os, sys
from pathlib import Path
from engine.residency.image_store import ImageStore

def build(descriptor):
    print("building", flush=True)
    sys.stdin.read()

ImageStore(Path(sys.argv[1])).get("a", 1000, os.fstat, build, lambda: False)
"""


def test_a_killed_builder_is_not_waited_for(tmp_path):
    """Its lock goes with it, and the next one builds."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as builder:
        assert builder.stdout.readline() == b"building\n"
        builder.kill()
        builder.wait()

        content, path = get(ImageStore(tmp_path))
    assert content.startswith(b"image")
    assert kept(tmp_path) == [path.name]


def aged(path, seconds: int) -> None:
    past = time.time_ns() - seconds * 10**9
    os.utime(path, ns=(past, past))


def test_the_folder_stays_within_its_budget(tmp_path):
    """What was used longest ago goes first; reading is using."""
    store = ImageStore(tmp_path, max_bytes=2 * SIZE)
    for age, name in enumerate("ba"):
        aged(get(store, name)[1], 100 - age)
    get(store, "b")
    get(store, "c")

    assert kept(tmp_path) == ["b.image", "c.image"]


def test_images_in_use_stay(tmp_path):
    """Another one goes, or the new one is in memory alone."""
    store = ImageStore(tmp_path, max_bytes=2 * SIZE)
    held: list[int] = []
    aged(get(store, "a", read=partial(read_and_hold, held))[1], 100)
    get(store, "b")
    get(store, "c", read=partial(read_and_hold, held))
    assert kept(tmp_path) == ["a.image", "c.image"]

    assert get(store, "d")[1] is None
    assert kept(tmp_path) == ["a.image", "c.image"]
    for descriptor in held:
        os.close(descriptor)
    assert get(store, "d")[1] is not None


def test_an_image_beyond_the_budget_removes_nothing(tmp_path):
    """It would not fit even alone."""
    get(ImageStore(tmp_path), "a")

    assert get(ImageStore(tmp_path, max_bytes=SIZE - 1), "b")[1] is None
    assert kept(tmp_path) == ["a.image"]


def test_a_user_without_a_home_has_no_folder(monkeypatch):
    """The log says what that costs; a folder that is named is taken."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)

    with structlog.testing.capture_logs() as logs:
        assert get(ImageStore.of("auto"))[1] is None
    assert [entry["event"] for entry in logs] == ["image_not_kept"]


def homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("setting", ["off", "here"])
def test_settings_name_a_folder_or_none(tmp_path, monkeypatch, setting):
    """Off is not a folder's name."""
    monkeypatch.chdir(tmp_path)
    _, path = get(ImageStore.of(setting))

    assert path == (None if setting == "off" else Path("here/a.image"))


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    """As the XDG base directory specification has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "roundhouse/images"

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache/roundhouse/images"
