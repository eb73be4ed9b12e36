import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.checkpoint import CheckpointError
from engine.checkpoint.safetensors_header import read_safetensors_header
from engine.checkpoint.source_file import SourceFile


def _file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _entry(begin: int, end: int, *, dtype: object = "U8", shape: object = None) -> dict:
    shape = [end - begin] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _read(tmp_path: Path, content: bytes):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    return read_safetensors_header(SourceFile(path))


VALID = _file(
    {
        "__metadata__": {"format": "pt"},
        "a": _entry(0, 16, dtype="F32", shape=[2, 2]),
        "empty": _entry(16, 16, dtype="BF16", shape=[0, 4]),
        "b": _entry(16, 20, dtype="F16", shape=[2]),
    },
    bytes(range(20)),
)

TWICE = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
TWICE += b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'

MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "short": (b"\0\0\0", "no JSON object follows"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
    "web page": (b"\n<!DOCTYPE html><html></html>", "web page"),
    "zip": (b"PK\x03\x04 and more", "zip archive"),
    "pickle": (b"\x80\x04\x95 and more", "Python pickle"),
    "header of 2^63": ((2**63).to_bytes(8, "little") + b"{}", "limit 100000000"),
    "header of 101 MB": ((101_000_000).to_bytes(8, "little") + b"{}", "limit 100000000"),
    "header past the end": ((99).to_bytes(8, "little") + b"{}", "the file has 10"),
    "no JSON": (_file(b"hello"), "no JSON object follows"),
    "broken JSON": (_file(b'{"a":'), "is not valid JSON: Expecting value (at byte 13)"),
    "not UTF-8": (_file(b'{"\xff":1}'), "not UTF-8"),
    "lone surrogate": (_file(b'{"\\ud800":{}}'), "surrogate"),
    "deep JSON": (_file(b'{"a":' + b"[" * 100_000), "nested too deeply"),
    "endless integer": (_file(b'{"a":' + b"9" * 5000 + b"}"), "not accepted"),
    "name twice": (_file(TWICE, b"\0"), "key 'a' occurs twice"),
    "metadata a list": (_file({"__metadata__": []}), "not a table of strings"),
    "metadata of numbers": (_file({"__metadata__": {"a": 1}}), "not a table of strings"),
    "entry a number": (_file({"a": 1}), "must have dtype"),
    "entry without shape": (_file({"a": {"dtype": "U8"}}), "must have dtype"),
    "dtype unknown": (_file({"a": _entry(0, 1, dtype="Q9")}, b"\0"), "unknown dtype 'Q9'"),
    "dtype a list": (_file({"a": _entry(0, 1, dtype=[])}, b"\0"), "unknown dtype"),
    "shape a number": (_file({"a": _entry(0, 1, shape=1)}, b"\0"), "a shape that is not"),
    "shape of bools": (_file({"a": _entry(0, 1, shape=[True])}, b"\0"), "a shape that is not"),
    "shape of floats": (_file({"a": _entry(0, 1, shape=[1.0])}, b"\0"), "a shape that is not"),
    "shape negative": (_file({"a": _entry(0, 1, shape=[-1, -1])}, b"\0"), "a shape that is not"),
    "shape of 9": (_file({"a": _entry(0, 1, shape=[1] * 9)}, b"\0"), "a shape that is not"),
    "shape that wraps": (_file({"a": _entry(0, 0, shape=[2**40] * 4)}), "'a' takes 0 bytes"),
    "offsets reversed": (_file({"a": _entry(4, 0, shape=[1])}, bytes(4)), "data_offsets"),
    "offsets negative": (_file({"a": _entry(-4, 0, shape=[4])}, bytes(4)), "data_offsets"),
    "offsets of three": (
        _file({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"\0"),
        "data_offsets",
    ),
    "bytes and shape differ": (_file({"a": _entry(0, 4, shape=[3])}, bytes(4)), "takes 4 bytes"),
    "half a byte": (_file({"a": _entry(0, 1, dtype="F4", shape=[1])}, b"\0"), "takes 1 bytes"),
    "hole": (_file({"a": _entry(0, 4), "b": _entry(8, 12)}, bytes(12)), "leaves a hole"),
    "overlap": (_file({"a": _entry(0, 4), "b": _entry(2, 6)}, bytes(6)), "overlaps"),
    "hole at the start": (_file({"a": _entry(4, 8)}, bytes(8)), "leaves a hole"),
    "trailing bytes": (_file({"a": _entry(0, 4)}, bytes(5)), "its tensors end elsewhere"),
    "cut short": (_file({"a": _entry(0, 4)}, bytes(3)), "its tensors end elsewhere"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_by_name(case: str, tmp_path: Path):
    """Each way in which a file can be wrong has an error that says so."""
    content, message = MALFORMED[case]

    with pytest.raises(CheckpointError) as error:
        _read(tmp_path, content)
    assert message in error.value.message
    assert error.value.message.startswith("model.safetensors: ")


def test_a_file_cut_anywhere_is_refused(tmp_path: Path):
    """No proper prefix of a file is a file."""
    assert list(_read(tmp_path, VALID).tensors) == ["a", "empty", "b"]

    for size in range(len(VALID)):
        with pytest.raises(CheckpointError):
            _read(tmp_path, VALID[:size])


@pytest.mark.parametrize("first_byte", [0x3C, 0x80])
def test_a_length_may_look_like_another_file(first_byte: int, tmp_path: Path):
    """A header's length may begin with the byte that a web page or a pickle begins with."""
    content = _file(json.dumps({"a": _entry(0, 4)}).encode().ljust(first_byte), bytes(4))
    assert content[0] == first_byte

    assert list(_read(tmp_path, content).tensors) == ["a"]


def test_too_many_tensors_are_refused(tmp_path: Path):
    """The number of tensors is bounded."""
    empty = _entry(0, 0)
    header = {f"t{i}": empty for i in range(2**17 + 1)}

    with pytest.raises(CheckpointError, match="holds 131073 tensors, limit 131072"):
        _read(tmp_path, _file(header))


@settings(
    max_examples=400,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_mutated_file_opens_or_is_refused(data: st.DataObject, tmp_path: Path):
    """Whatever bytes are changed, put in or cut out, only our error ever comes."""
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content) - 1))
        end = begin + data.draw(st.sampled_from([0, 1, 1, 1, 8]))
        content[begin:end] = data.draw(st.binary(max_size=8))

    try:
        header = _read(tmp_path, bytes(content))
    except CheckpointError:
        return
    for tensor in header.tensors.values():
        assert len(tensor.file.view(tensor.offset, tensor.info.nbytes)) == tensor.info.nbytes
