import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from engine.checkpoint import CheckpointError, SafetensorsCheckpoint, open_checkpoint

INDEX = "model.safetensors.index.json"


def _open(path: Path) -> SafetensorsCheckpoint:
    checkpoint = open_checkpoint(path)
    assert isinstance(checkpoint, SafetensorsCheckpoint)
    return checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of two shards."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": np.arange(6, dtype=np.float32).reshape(2, 3)}, folder / "one.safetensors")
    save_file({"b": np.arange(4, dtype=np.float16)}, folder / "two.safetensors")
    _write_index(folder, {"a": "one.safetensors", "b": "two.safetensors"})
    (folder / "config.json").write_text(
        '{"model_type": "llama", "limit": [0, Infinity], "top": {"__float__": "Infinity"}}'
    )
    return folder


def _write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def test_a_real_folder_reads_as_the_library_reads_it(fixture_path: Callable[[str], Path]):
    """Names, shapes, types and bytes equal those that the safetensors library gives."""
    path = fixture_path("llama-plain/hf")
    with (
        _open(path) as checkpoint,
        safe_open(path / "model.safetensors", framework="numpy") as expected,
    ):
        assert set(checkpoint.tensors) == set(expected.keys())
        for name, info in checkpoint.tensors.items():
            tensor = expected.get_tensor(name)
            assert info.shape == tensor.shape
            assert info.type == expected.get_slice(name).get_dtype() == "F32"
            assert checkpoint.read(name) == tensor.tobytes()
        assert checkpoint.config == json.loads((path / "config.json").read_text())
        generation = json.loads((path / "generation_config.json").read_text())
        assert checkpoint.generation_config == generation


def test_shards_open_as_one(folder: Path):
    """The index says which shard holds a tensor."""
    with _open(folder) as checkpoint:
        assert checkpoint.tensors["a"].shape == (2, 3)
        assert checkpoint.tensors["b"].type == "F16"
        assert checkpoint.read("b") == np.arange(4, dtype=np.float16).tobytes()
        sizes = [(folder / f"{name}.safetensors").stat().st_size for name in ("one", "two")]
        assert checkpoint.file_bytes == sum(sizes)
        assert checkpoint.config["limit"] == [0, float("inf")]
        assert checkpoint.config["top"] == float("inf")
        assert checkpoint.generation_config == {}


def test_links_are_followed(folder: Path, tmp_path: Path):
    """The Hugging Face cache is a folder of links to files elsewhere."""
    blobs = tmp_path / "blobs"
    folder.rename(blobs)
    folder.mkdir()
    for blob in blobs.iterdir():
        (folder / blob.name).symlink_to(Path("..") / "blobs" / blob.name)

    assert len(_open(folder).tensors) == 2


@pytest.mark.parametrize(
    "name", ["../one.safetensors", "/one.safetensors", "sub/one.safetensors", "a\\b.safetensors"]
)
def test_shards_lie_in_the_folder(name: str, folder: Path):
    """A shard is named by its plain name, never by a path."""
    _write_index(folder, {"a": name})

    with pytest.raises(CheckpointError, match="is not the plain name of a file"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (None, "has no weight_map"),
        ({}, "has no weight_map"),
        ([], "has no weight_map"),
        ({"a": 1}, "names a shard 1"),
        ({"a": "config.json"}, "is not a .safetensors file"),
        ({"a": "three.safetensors"}, "three.safetensors: cannot be read: No such file"),
        ({"a": "two.safetensors"}, "says that two.safetensors holds 'a', it does not"),
        ({str(i): f"{i}.safetensors" for i in range(1025)}, "names 1025 shards, limit 1024"),
    ],
)
def test_a_wrong_index_is_refused(weight_map: object, message: str, folder: Path):
    """An index must agree with the shards beside it."""
    _write_index(folder, weight_map)

    with pytest.raises(CheckpointError) as error:
        open_checkpoint(folder)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "config.json: is empty"),
        (b"[]", "not an object"),
        (b'{"a": 1, "a": 2}', "key 'a' occurs twice"),
        (b"<html>", "web page"),
        (b'{"a": "\\uD800"}', "surrogate"),
        (b"{" + b" " * (16 * 2**20), "limit 16777216"),
    ],
)
def test_a_wrong_config_is_refused(content: bytes, message: str, folder: Path):
    """config.json is read within a bound, as an object whose keys are given once."""
    (folder / "config.json").write_bytes(content)

    with pytest.raises(CheckpointError) as error:
        open_checkpoint(folder)
    assert message in error.value.message


def test_a_folder_without_config_is_refused(folder: Path):
    """Tensors alone do not say what model they are."""
    (folder / "config.json").unlink()

    with pytest.raises(CheckpointError, match=r"config.json: cannot be read: No such file"):
        open_checkpoint(folder)


def test_text_files_are_read_within_a_bound(folder: Path, tmp_path: Path):
    """Text is UTF-8 of a plain name and a bounded size; a file that is absent gives None."""
    (folder / "chat_template.jinja").write_text("{{ 'ß' }}")
    (folder / "bad.txt").write_bytes(b"\xff")
    (tmp_path / "secret.txt").write_text("secret")
    checkpoint = _open(folder)

    assert checkpoint.read_text("chat_template.jinja", 100) == "{{ 'ß' }}"
    assert checkpoint.read_text("tokenizer.json", 100) is None
    assert checkpoint.read_text("../secret.txt", 100) is None
    with pytest.raises(CheckpointError, match="limit 5"):
        checkpoint.read_text("chat_template.jinja", 5)
    with pytest.raises(CheckpointError, match=r"bad.txt: is not UTF-8 \(at byte 0\)"):
        checkpoint.read_text("bad.txt", 100)


def test_the_digest_covers_text_beside_the_weights(folder: Path, tmp_path: Path):
    """Tokenizers are cached by digest: the same folder has the same, a changed file another."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = open_checkpoint(folder).digest
    assert open_checkpoint(copy).digest == before

    (copy / "tokenizer.json").write_text("{}")
    added = open_checkpoint(copy).digest
    (copy / "tokenizer.json").write_text("[]")
    assert len({before, added, open_checkpoint(copy).digest}) == 3
