import os
import shutil

import pytest

from engine.checkpoint import open_checkpoint
from engine.checkpoint.stamps import are_current, stamps_of
from tests.engine.fixture_models import COMMITTED, gguf_copy


@pytest.fixture
def folder(tmp_path):
    """A model in safetensors."""
    return shutil.copytree(COMMITTED / "gemma3-swa/hf", tmp_path / "model")


def test_nothing_changed_is_current(folder):
    """However often one asks, and for each format."""
    path = gguf_copy(folder.parent / "model.gguf", "llama-plain")
    for each in (folder, path):
        with open_checkpoint(each) as checkpoint:
            stamps = stamps_of(checkpoint)

        assert are_current(stamps)
        assert are_current(stamps)


def test_a_file_that_is_gone_is_not_current(tmp_path):
    """It is no error: whoever opens it says what is wrong."""
    path = gguf_copy(tmp_path / "model.gguf", "llama-plain")
    with open_checkpoint(path) as checkpoint:
        stamps = stamps_of(checkpoint)
    path.unlink()

    assert not are_current(stamps)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_every_file_of_a_folder_counts(folder, name):
    """Weights, and what describes them."""
    with open_checkpoint(folder) as checkpoint:
        stamps = stamps_of(checkpoint)
    os.utime(folder / name, ns=(0, 0))

    assert not are_current(stamps)


def test_a_new_file_counts(folder):
    """It may be what the model is read from next time."""
    with open_checkpoint(folder) as checkpoint:
        stamps = stamps_of(checkpoint)
    os.utime(folder, ns=(0, 0))  # a clock may be too coarse to show two changes
    (folder / "tokenizer.json").write_text("{}")

    assert not are_current(stamps)
