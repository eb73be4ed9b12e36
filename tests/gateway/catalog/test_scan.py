import os
from pathlib import Path

import pytest

from gateway.catalog import scan
from gateway.catalog.scan import find_checkpoints


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def ids(root: Path) -> list[str]:
    return [found.id for found in find_checkpoints(root)]


def test_ids_are_paths_without_the_suffix(tmp_path):
    """Files are known by their path, safetensors by their folder; the rest is no model."""
    make(tmp_path, "a.gguf", "org/B.GGUF", "hf/m/config.json", "hf/m/model.safetensors")
    make(tmp_path, "notes.txt", "lora/adapter.safetensors", "only/config.json")

    assert ids(tmp_path) == ["a", "hf/m", "org/B"]


def test_companions_of_models_are_none(tmp_path):
    """Projectors of images and importance matrices are GGUF files as well."""
    make(tmp_path, "m-Q4_0.gguf", "mmproj-m-F16.gguf", "m.mmproj.gguf", "imatrix.gguf")

    assert ids(tmp_path) == ["m-Q4_0"]


def test_a_split_file_is_one_model(tmp_path):
    """The first part stands for all, and a change of any part is seen."""
    make(tmp_path, *(f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)))
    (before,) = find_checkpoints(tmp_path)
    (tmp_path / "big-00003-of-00003.gguf").write_bytes(b"longer")
    (after,) = find_checkpoints(tmp_path)

    assert (before.id, before.path.name) == ("big", "big-00001-of-00003.gguf")
    assert before.stamp != after.stamp


def test_a_folder_that_is_a_checkpoint_itself(tmp_path):
    """It is known by its own name."""
    make(tmp_path, "mine/config.json", "mine/model.safetensors")

    assert ids(tmp_path / "mine") == ["mine"]


def test_links_are_followed_once(tmp_path):
    """People link models in; a link that leads back must not be walked for ever."""
    make(tmp_path, "elsewhere/m.gguf", "models/own.gguf")
    (tmp_path / "models/linked.gguf").symlink_to(tmp_path / "elsewhere/m.gguf")
    (tmp_path / "models/dangling.gguf").symlink_to(tmp_path / "nothing")
    (tmp_path / "models/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "models/loop").symlink_to(tmp_path / "models")

    assert ids(tmp_path / "models") == ["folder/m", "linked", "own"]


def test_hidden_names_deep_folders_and_pipes_are_left_alone(tmp_path):
    """Downloads in progress and caches are hidden; depth is bounded; only files are models."""
    make(tmp_path, ".cache/a.gguf", ".b.gguf", "/".join("d" * scan.MAX_DEPTH) + "/c.gguf")
    make(tmp_path, "/".join("e" * (scan.MAX_DEPTH + 1)) + "/d.gguf")
    os.mkfifo(tmp_path / "pipe.gguf")

    assert [name.rsplit("/", 1)[-1] for name in ids(tmp_path)] == ["c"]


def test_the_number_of_entries_is_bounded(tmp_path, monkeypatch):
    """A folder that is no models folder does not keep us busy."""
    monkeypatch.setattr(scan, "MAX_ENTRIES", 5)
    make(tmp_path, *(f"{n}/m.gguf" for n in range(10)))

    assert 0 < len(ids(tmp_path)) < 5


@pytest.mark.parametrize("name", ["absent", "file"])
def test_no_folder_is_no_models(tmp_path, name):
    """Whether there is a folder is for the command line to check."""
    (tmp_path / "file").write_bytes(b"")

    assert ids(tmp_path / name) == []
