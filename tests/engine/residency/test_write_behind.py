import errno
import gc
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import structlog
import torch

from engine.checkpoint import open_checkpoint
from engine.nn.decoder import CausalLM
from engine.residency.image import Image, open_image
from engine.residency.image_store import ImageStore
from tests.engine.batches import logprobs_of
from tests.engine.residency.images import QUANTISED, kept, needs_native, opened

pytestmark = needs_native


def opened_at_once(store: ImageStore, path: Path = QUANTISED) -> tuple[CausalLM, Image]:
    """Before its image is on the disk."""
    with open_checkpoint(path) as checkpoint:
        return open_image(checkpoint, torch.float32, store)


class Disk:
    """A disk that is done when it is told to be, or that fails."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.error: OSError | None = None

    def sync(self, original: Callable[[int], None], descriptor: int) -> None:
        self.asked.set()
        self.go_on.wait()
        if self.error is not None:
            raise self.error
        original(descriptor)


@pytest.fixture
def disk(monkeypatch) -> Iterator[Disk]:
    slow = Disk()
    monkeypatch.setattr("engine.residency.write_behind.os.fsync", partial(slow.sync, os.fsync))
    yield slow
    slow.go_on.set()


@contextmanager
def written(store: ImageStore, disk: Disk) -> Iterator[None]:
    """What is done inside is done while the disk writes."""
    assert disk.asked.wait(30)
    yield
    disk.go_on.set()
    store.wait()


def expected() -> torch.Tensor:
    return logprobs_of(opened(QUANTISED, ImageStore(None))[0], [1, 2, 3])


def test_a_first_load_does_not_wait_for_the_disk(tmp_path, disk):
    """The model runs; its image has its name once it is on the disk."""
    store = ImageStore(tmp_path)
    model, image = opened_at_once(store)
    with written(store, disk):
        assert torch.equal(logprobs_of(model, [1, 2, 3]), expected())
        assert kept(tmp_path) == [image.path.with_suffix(".partial").name]

    assert kept(tmp_path) == [image.path.name]
    assert not opened(QUANTISED, ImageStore(tmp_path))[1].was_built


def test_what_is_evicted_meanwhile_is_written_all_the_same(tmp_path, disk):
    """The next load maps it."""
    store = ImageStore(tmp_path)
    model, _ = opened_at_once(store)
    with written(store, disk):
        del model
        gc.collect()

    assert not opened(QUANTISED, store)[1].was_built


def test_another_load_reads_it_once_it_is_on_the_disk(tmp_path, disk):
    """Until then it waits; nothing is built twice, and nothing is read that may be lost."""
    store, other = ImageStore(tmp_path), ImageStore(tmp_path)
    model, _ = opened_at_once(store)
    waiting, found = threading.Event(), []

    def wait() -> bool:
        waiting.set()
        return False

    def load() -> None:
        found.append(opened(QUANTISED, other, cancelled=wait))

    thread = threading.Thread(target=load)
    with written(store, disk):
        thread.start()
        assert waiting.wait(30)
        assert found == []
    thread.join()

    second, image = found[0]
    assert not image.was_built
    assert torch.equal(logprobs_of(second, [1, 2]), logprobs_of(model, [1, 2]))


def test_room_is_not_made_with_what_is_being_written(tmp_path, disk):
    """It counts as what it will be."""
    store = ImageStore(tmp_path)
    _, image = opened_at_once(store)
    with written(store, disk):
        small = ImageStore(tmp_path, max_bytes=image.nbytes)
        built = small.get("b", 1000, os.fstat, lambda _: None, lambda: False)
        assert built[1] is None

    assert kept(tmp_path) == [image.path.name]


def test_it_may_be_mapped_by_others_and_stays_while_it_is(tmp_path):
    """The builder's lock is a reader's once it is done: nobody waits, and nobody removes it."""
    store = ImageStore(tmp_path)
    model, image = opened(QUANTISED, store)
    small = ImageStore(tmp_path, max_bytes=image.nbytes)

    assert not opened(QUANTISED, ImageStore(tmp_path))[1].was_built
    assert opened(QUANTISED, small, torch.bfloat16)[1].path is None
    del model


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_the_disk_does_not_take_stays_in_memory(tmp_path, disk, number):
    """The model goes on over memory of its own; the log says why, and the disk holds nothing."""
    store = ImageStore(tmp_path)
    disk.error = OSError(number, os.strerror(number))
    with structlog.testing.capture_logs() as logs:
        model, image = opened_at_once(store)
        with written(store, disk):
            assert maps_of(image)

    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("image_not_kept", os.strerror(number))
    ]
    assert kept(tmp_path) == []
    assert maps_of(image) == []
    assert torch.equal(logprobs_of(model, [1, 2, 3]), expected())


def maps_of(image: Image) -> list[str]:
    return re.findall(re.escape(image.path.stem), Path("/proc/self/maps").read_text())


def test_a_cache_may_be_deleted_meanwhile(tmp_path, disk):
    """The model goes on, and the next load builds."""
    store = ImageStore(tmp_path / "images")
    model, _ = opened_at_once(store)
    with structlog.testing.capture_logs() as logs, written(store, disk):
        shutil.rmtree(tmp_path / "images")

    assert [entry["event"] for entry in logs] == ["image_not_kept"]
    assert torch.equal(logprobs_of(model, [1, 2, 3]), expected())
    assert opened(QUANTISED, store)[1].was_built


KILLED = """
import os, sys
from pathlib import Path
from engine.residency.image_store import ImageStore

def sync(descriptor):
    print("writing", flush=True)
    sys.stdin.read()

os.fsync = sync
build = lambda descriptor: os.pwrite(descriptor, b"image", 0)
ImageStore(Path(sys.argv[1])).get("a", 1000, os.fstat, build, lambda: False)
"""


def test_what_was_not_on_the_disk_is_built_anew(tmp_path):
    """However whole it looks: kill -9 leaves a partial file, which nobody waits for or reads."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == b"writing\n"
        assert kept(tmp_path) == ["a.partial"]
        writer.kill()
        writer.wait()

    store, built = ImageStore(tmp_path), []
    assert kept(tmp_path) == []
    _, path = store.get("a", 1000, os.fstat, built.append, lambda: False)
    store.wait()
    assert len(built) == 1
    assert kept(tmp_path) == [path.name]
