import mmap
import os

import pytest

from engine.residency.image_store import ImageStore
from engine.residency.pages import _extent, _libc, bring_back
from tests.engine.residency.images import QUANTISED, needs_native, opened

pytestmark = needs_native


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


def test_images_in_memory_alone_stay():
    """Only what was never written, behind their headers, is given pages once."""
    model, image = opened(QUANTISED, ImageStore(None))

    assert bring_back(model) * mmap.PAGESIZE < image.nbytes / 10
    assert bring_back(model) == 0
