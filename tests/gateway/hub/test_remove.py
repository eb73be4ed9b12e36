import os
from pathlib import Path

import pytest

from gateway.hub.errors import HubError
from gateway.hub.remove import removal_of, remove


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    return folder / names[0]


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def test_all_parts_of_a_split_file_go(models):
    """And no other model's, however alike its name."""
    parts = ("m-Q4-00001-of-00002.gguf", "m-Q4-00002-of-00002.gguf")
    first = put(models, *parts, "m-Q4.gguf", "m-Q40.gguf", "m.gguf")

    assert remove(models, first).num_bytes == 200
    assert files(models) == ["m-Q4.gguf", "m-Q40.gguf", "m.gguf"]


def test_a_folder_loses_the_model_and_nothing_else(models):
    """Other models in it stay, and what nobody knows."""
    put(
        models / "o/n",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "1_Pooling/config.json",
    )
    put(models / "o/n", "other-Q8_0.gguf", "notes.txt", "deep/er/model.safetensors")

    assert remove(models, models / "o/n").num_bytes == 400
    assert files(models) == [
        "o/n/deep/er/model.safetensors",
        "o/n/notes.txt",
        "o/n/other-Q8_0.gguf",
    ]


def test_what_was_pulled_goes_with_its_record(pull, models):
    """One quantisation, then the other, and then nothing is left, not even a folder."""
    pull("org/quants:Q8_0")
    pull("org/quants:Q6_K")
    remove(models, models / "org/quants/llama-q-Q8_0.gguf")
    assert files(models) == [
        "org/quants/.roundhouse/lock",
        "org/quants/.roundhouse/q6_k.json",
        "org/quants/llama-q-Q6_K.gguf",
    ]

    remove(models, models / "org/quants/llama-q-Q6_K.gguf")

    assert [*models.iterdir()] == []


def test_what_lies_elsewhere_is_refused(models, tmp_path):
    """Whether it is said so, climbs out, or is only a link here."""
    outside = put(tmp_path / "outside", "m.gguf")
    (models / "link.gguf").symlink_to(outside)
    (models / "folder").symlink_to(outside.parent)

    for path in (
        outside,
        models / "../outside/m.gguf",
        models / "link.gguf",
        models / "folder/m.gguf",
    ):
        with pytest.raises(HubError) as refused:
            remove(models, path)
        assert refused.value.code == "outside"
    assert outside.exists()


def test_only_what_gets_free_is_counted(models, tmp_path):
    """A file that has another name stays on the disk."""
    path = put(models, "m.gguf")
    os.link(path, tmp_path / "other-name")

    assert removal_of(models, path).num_bytes == 0
