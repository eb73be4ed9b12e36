import os

import pytest

from engine.checkpoint import open_checkpoint
from engine.checkpoint.fingerprint import fingerprint
from tests.engine.fixture_models import gguf_copy


@pytest.fixture
def model(tmp_path):
    return gguf_copy(tmp_path / "model.gguf", "llama-plain")


def of(path) -> str:
    with open_checkpoint(path) as checkpoint:
        return fingerprint(checkpoint)


def test_it_stays_while_the_file_does(model):
    """Reading changes nothing."""
    assert of(model) == of(model)


def test_changed_weights_change_it(model):
    """Also where size and time of change are kept: the content is sampled, its end included."""
    before, status = of(model), model.stat()
    with model.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert of(model) != before


def test_a_file_that_was_touched_is_another(model):
    """What changed between the samples cannot be seen, so the time of change counts."""
    before = of(model)
    os.utime(model, ns=(0, 0))

    assert of(model) != before


def test_a_file_in_its_place_is_another(model, tmp_path):
    """A copy has another inode."""
    before, status = of(model), model.stat()
    copy = tmp_path / "copy"
    copy.write_bytes(model.read_bytes())
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(model)

    assert of(model) != before
