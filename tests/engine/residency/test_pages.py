import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint.source_file import SourceFile
from engine.residency.image_store import ImageStore
from engine.residency.pages import _extent, _libc, bring_back, let_go, let_go_of_view
from tests.engine.batches import logprobs_of
from tests.engine.residency.images import QUANTISED, needs_native, opened

pytestmark = needs_native
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="maps are seen in /proc")


def test_a_model_that_was_just_read_is_all_there(tmp_path):
    """Nothing is to be read."""
    model, _ = opened(QUANTISED, ImageStore(tmp_path))

    assert bring_back(model) == 0


def test_pages_that_the_system_took_come_back(tmp_path):
    """All of them, before the model runs."""
    model, image = opened(QUANTISED, ImageStore(tmp_path))
    address, num_bytes = _extent(model)
    assert num_bytes == image.nbytes
    # Unmapped here, and dropped from the page cache: as under pressure.
    _libc().madvise(address, num_bytes, mmap.MADV_DONTNEED)
    with image.path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    missing = bring_back(model)
    if missing == 0:
        pytest.skip("this file system keeps its pages")

    assert bring_back(model) == 0


@needs_linux
@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_let_go_of_is_unmapped_and_not_lost(is_file, tmp_path):
    """A model that is still used goes on as before, from a file and from memory alone."""
    model, _ = opened(QUANTISED, ImageStore(tmp_path if is_file else None))
    expected = logprobs_of(model, [1, 2, 3])
    address, _ = _extent(model)
    assert mapped_bytes(address) > 0

    let_go(model)
    assert mapped_bytes(address) == 0
    assert torch.equal(logprobs_of(model, [1, 2, 3]), expected)


@needs_linux
def test_a_file_that_was_read_is_unmapped(tmp_path):
    """Its views show the same bytes afterwards."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 256)
    view = SourceFile(path).view(0, path.stat().st_size)
    assert view[300] == 44
    address = np.frombuffer(view, np.uint8).ctypes.data
    assert mapped_bytes(address) > 0

    let_go_of_view(view)
    assert mapped_bytes(address) == 0
    assert view[300] == 44


def mapped_bytes(address: int) -> int:
    """Of the map that begins there, what is in this process's page tables."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    begins = next(i for i, line in enumerate(lines) if line.startswith(f"{address:x}-"))
    resident = next(line for line in lines[begins:] if line.startswith("Rss:"))
    return 1024 * int(resident.split()[1])


def test_images_in_memory_alone_stay():
    """Only what was never written, behind their headers, is given pages once."""
    model, image = opened(QUANTISED, ImageStore(None))

    assert bring_back(model) * mmap.PAGESIZE < image.nbytes / 10
    assert bring_back(model) == 0
