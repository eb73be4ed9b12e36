import os
import struct
from collections.abc import Callable
from pathlib import Path

import gguf as gguf_py
import numpy as np
import pytest

from engine.checkpoint import CheckpointError, GGUFCheckpoint, open_checkpoint

FILES = (
    "llama-plain/llama-plain-F32.gguf",
    "llama-q/llama-q-Q4_K_M.gguf",
    "llama-q/llama-q-IQ4_XS.gguf",
    "gemma3-q/gemma3-q-Q8_0.gguf",
)


def _open(path: Path) -> GGUFCheckpoint:
    checkpoint = open_checkpoint(path)
    assert isinstance(checkpoint, GGUFCheckpoint)
    return checkpoint


def _write_part(folder: Path, index: int, count: int, *, total: int = 3, name: str = "m") -> None:
    writer = gguf_py.GGUFWriter(folder / f"{name}-{index + 1:05}-of-{count:05}.gguf", "llama")
    writer.add_uint16("split.no", index)
    writer.add_uint16("split.count", count)
    writer.add_int32("split.tensors.count", total)
    writer.add_tensor(f"blk.{index}.weight", np.full((2, 4), index, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_reads_as_ggufs_own_reader_reads_it(
    name: str, fixture_path: Callable[[str], Path]
):
    """Keys, values, tensors, shapes and bytes equal those that gguf-py's reader gives."""
    path = fixture_path(name)
    reader = gguf_py.GGUFReader(path)
    with _open(path) as checkpoint:
        expected = {
            key: field.contents()
            for key, field in reader.fields.items()
            if not key.startswith("GGUF.")
        }
        assert dict(checkpoint.metadata) == expected
        assert list(checkpoint.tensors) == [tensor.name for tensor in reader.tensors]
        for tensor in reader.tensors:
            info = checkpoint.tensors[tensor.name]
            assert info.shape == tuple(reversed(tensor.shape.tolist()))
            assert (info.type, info.nbytes) == (tensor.tensor_type.name, tensor.n_bytes)
            assert checkpoint.read(tensor.name) == tensor.data.tobytes()


def test_every_value_type_reads_as_written(tmp_path: Path):
    """All scalar types and lists of them come back as they were given to gguf-py's writer."""
    writer = gguf_py.GGUFWriter(tmp_path / "model.gguf", "llama")
    numbers = {"uint8": 200, "int8": -7, "uint16": 60000, "int16": -9, "uint32": 2**32 - 1}
    numbers |= {"int32": -5, "uint64": 2**64 - 1, "int64": -(2**63), "float32": 0.25}
    numbers |= {"float64": 1e300, "bool": True, "string": "Grüße\0!"}
    for kind, value in numbers.items():
        getattr(writer, f"add_{kind}")(f"value.{kind}", value)
    lists = {"ints": [1, -2, 3], "floats": [0.5, -1.0], "bools": [True, False], "texts": ["", "ß"]}
    for key, values in lists.items():
        writer.add_array(key, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    metadata = _open(tmp_path / "model.gguf").metadata
    for kind, value in numbers.items():
        assert metadata[f"value.{kind}"] == value
    for key, values in lists.items():
        assert metadata[key] == values
        assert metadata.count(key) == len(values)
    assert metadata.count("value.uint8") is None


def test_parts_open_as_one(tmp_path: Path):
    """The first part stands for all; each tensor is read from the part that holds it."""
    for index in range(3):
        _write_part(tmp_path, index, 3)

    with _open(tmp_path / "m-00001-of-00003.gguf") as checkpoint:
        assert list(checkpoint.tensors) == ["blk.0.weight", "blk.1.weight", "blk.2.weight"]
        assert bytes(checkpoint.read("blk.2.weight")) == np.full(8, 2, dtype="<f4").tobytes()
        assert checkpoint.file_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_later_part_is_refused(tmp_path: Path):
    """Only the first part names a model."""
    _write_part(tmp_path, 1, 2)

    with pytest.raises(CheckpointError, match="part 2 of 2: open part 1"):
        open_checkpoint(tmp_path / "m-00002-of-00002.gguf")


def test_a_missing_part_is_named(tmp_path: Path):
    """A model with a part missing is refused, and the error names the part."""
    _write_part(tmp_path, 0, 2, total=2)

    with pytest.raises(CheckpointError, match=r"m-00002-of-00002.gguf: cannot be read: No such"):
        open_checkpoint(tmp_path / "m-00001-of-00002.gguf")


def test_parts_must_be_each_others(tmp_path: Path):
    """A part that says it is another one is refused."""
    _write_part(tmp_path, 0, 2, total=2)
    _write_part(tmp_path, 2, 3)
    (tmp_path / "m-00003-of-00003.gguf").rename(tmp_path / "m-00002-of-00002.gguf")

    with pytest.raises(CheckpointError, match="says it is part 3 of 3, not 2 of 2"):
        open_checkpoint(tmp_path / "m-00001-of-00002.gguf")


def test_parts_must_hold_all_tensors(tmp_path: Path):
    """The parts' tensors must be as many as the first part says."""
    for index in range(2):
        _write_part(tmp_path, index, 2, total=5)

    with pytest.raises(CheckpointError, match="hold 5 tensors, they hold 2"):
        open_checkpoint(tmp_path / "m-00001-of-00002.gguf")


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path):
    """Names are unique over all parts."""
    for index in range(2):
        _write_part(tmp_path, index, 2, total=2)
    second = tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(second.read_bytes().replace(b"blk.1.weight", b"blk.0.weight"))

    with pytest.raises(CheckpointError, match="is in an earlier part too"):
        open_checkpoint(tmp_path / "m-00001-of-00002.gguf")


def test_a_part_under_another_name_is_refused(tmp_path: Path):
    """Without its number in the name, the other parts cannot be found."""
    _write_part(tmp_path, 0, 2)
    (tmp_path / "m-00001-of-00002.gguf").rename(tmp_path / "model.gguf")

    with pytest.raises(CheckpointError, match="one of 2 parts, its name says one of 1"):
        open_checkpoint(tmp_path / "model.gguf")


def test_merged_parts_are_one_file(valid_gguf, tmp_path: Path):
    """gguf-split leaves a part count of 0 in what it merges."""
    valid_gguf.key(b"split.count", 2, struct.pack("<H", 0))
    (tmp_path / "model.gguf").write_bytes(valid_gguf.build())

    assert len(_open(tmp_path / "model.gguf").tensors) == 2


def test_a_part_count_of_the_wrong_type_is_refused(valid_gguf, tmp_path: Path):
    """Keys that the reader itself uses are checked for their type."""
    valid_gguf.key(b"split.count", 8, valid_gguf.string(b"two"))
    (tmp_path / "model.gguf").write_bytes(valid_gguf.build())

    with pytest.raises(CheckpointError, match=r"split.count is not an integer"):
        open_checkpoint(tmp_path / "model.gguf")


def test_text_that_is_not_utf8_fails_when_it_is_read(valid_gguf, tmp_path: Path):
    """Lists are decoded late; a bad string in one raises our error then, with its place."""
    valid_gguf.array(b"bad", 8, 1, valid_gguf.string(b"\xff"))
    (tmp_path / "model.gguf").write_bytes(valid_gguf.build())
    metadata = _open(tmp_path / "model.gguf").metadata

    assert "bad" in metadata
    with pytest.raises(CheckpointError, match=r"model.gguf: a string of 'bad' is not UTF-8 \(at"):
        metadata["bad"]


def test_tensors_are_views_of_the_file(valid_gguf, tmp_path: Path):
    """Reading copies nothing, cannot write, and outlives the checkpoint's closing."""
    (tmp_path / "model.gguf").write_bytes(valid_gguf.build())
    with _open(tmp_path / "model.gguf") as checkpoint:
        one, two = checkpoint.read("one.weight"), checkpoint.read("two.weight")

    assert one.readonly
    assert one.obj is two.obj
    assert bytes(one) + bytes(two) == bytes(range(128))
    with pytest.raises(CheckpointError, match="has no tensor 'three'"):
        checkpoint.read("three")


def test_a_file_changed_since_it_was_opened_is_not_read(valid_gguf, tmp_path: Path):
    """What was checked must be what is mapped."""
    path = tmp_path / "model.gguf"
    path.write_bytes(valid_gguf.build())
    checkpoint = open_checkpoint(path)
    os.utime(path, ns=(0, 0))

    with pytest.raises(CheckpointError, match="changed since it was opened"):
        checkpoint.read("one.weight")


def test_the_digest_tells_headers_and_sizes_apart(valid_gguf, tmp_path: Path):
    """Equal headers and sizes have one digest; a changed key or a longer file another."""
    paths = [tmp_path / f"{name}.gguf" for name in ("a", "b", "c", "d")]
    whole = valid_gguf.build()
    contents = [whole, whole, whole.replace(b"llama", b"gemma"), whole + b"\0"]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)

    a, b, c, d = (open_checkpoint(path).digest for path in paths)
    assert a == b
    assert len({a, c, d}) == 3
