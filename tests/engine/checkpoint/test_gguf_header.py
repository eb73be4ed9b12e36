import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.checkpoint import CheckpointError
from engine.checkpoint.gguf_header import read_gguf_header
from engine.checkpoint.source_file import SourceFile


def _read(tmp_path: Path, content: bytes):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return read_gguf_header(SourceFile(path))


def _key(gguf, name: bytes, kind: int, value: bytes):
    return gguf.key(name, kind, value)


U32 = struct.Struct("<I")

# What to write, and what the error must say. Alignment and F32 are the defaults.
MALFORMED: dict[str, tuple[Callable, str]] = {
    "magic": (lambda g: setattr(g, "magic", b"GGUX"), "begins with b'GGUX' (at byte 0)"),
    "old magic": (lambda g: setattr(g, "magic", b"tjgg"), "before GGUF"),
    "version 0": (lambda g: setattr(g, "version", 0), "big-endian"),
    "version 1": (lambda g: setattr(g, "version", 1), "version 1; 2 and 3 are supported"),
    "version 4": (lambda g: setattr(g, "version", 4), "version 4"),
    "big-endian": (lambda g: setattr(g, "version", 3 << 24), "big-endian"),
    "too many keys": (lambda g: setattr(g, "num_keys", 2**63), "keys, limit 65536 (at byte 16)"),
    "too many tensors": (lambda g: setattr(g, "num_tensors", 2**64 - 1), "tensors, limit 131072"),
    "keys endless": (lambda g: setattr(g, "num_keys", 9), "past the end of the file"),
    "tensors endless": (lambda g: setattr(g, "num_tensors", 9), "past the end of the file"),
    "long key": (lambda g: g.key(b"k" * 65537, 0, b"\0"), "a key is 65537 bytes long"),
    "endless key": (
        lambda g: g.keys.append(struct.pack("<Q", 2**64 - 1)),
        "a key is 18446744073709551615 bytes long",
    ),
    "empty key": (lambda g: g.key(b"", 0, b"\0"), "a key is empty"),
    "key not UTF-8": (lambda g: g.key(b"\xff", 0, b"\0"), "a key is not UTF-8"),
    "key twice": (lambda g: g.key(b"a", 0, b"\0").key(b"a", 0, b"\0"), "'a' occurs twice"),
    "value type": (lambda g: g.key(b"a", 13, b"\0"), "'a' has unknown value type 13"),
    "value string not UTF-8": (lambda g: g.key(b"a", 8, g.string(b"\xc3")), "'a' is not UTF-8"),
    "value string endless": (
        lambda g: g.key(b"a", 8, struct.pack("<Q", 2**60)),
        "the value of 'a' is 1152921504606846976 bytes long",
    ),
    "bool": (lambda g: g.key(b"a", 7, b"\2"), "'a' has a bool that is neither"),
    "bool in array": (lambda g: g.array(b"a", 7, 2, b"\1\2"), "'a' has a bool that is neither"),
    "array of arrays": (lambda g: g.array(b"a", 9, 1, bytes(12)), "'a' has arrays of arrays"),
    "array type": (lambda g: g.array(b"a", 99, 1, b"\0"), "unknown element type 99"),
    "array endless": (lambda g: g.array(b"a", 0, 2**60, b""), "'a' claims 1152921504606846976"),
    "array of 2^64 - 1": (lambda g: g.array(b"a", 12, 2**64 - 1, b""), "more than the file"),
    "array past the end": (lambda g: g.array(b"a", 4, 100, b""), "more than the file can hold"),
    "strings endless": (lambda g: g.array(b"a", 8, 2**60, b""), "more than the file can hold"),
    "string in array endless": (
        lambda g: g.array(b"a", 8, 1, struct.pack("<Q", 2**62)),
        "a string is 4611686018427387904 bytes long",
    ),
    "alignment 0": (lambda g: _key(g, b"general.alignment", 4, U32.pack(0)), "power of two"),
    "alignment 24": (lambda g: _key(g, b"general.alignment", 4, U32.pack(24)), "power of two"),
    "alignment 2^31": (
        lambda g: _key(g, b"general.alignment", 4, U32.pack(2**31)),
        "is 2147483648, not a power of two from 8 to 65536 (at byte 24)",
    ),
    "alignment a float": (
        lambda g: _key(g, b"general.alignment", 6, struct.pack("<f", 32)),
        "general.alignment is 32.0",
    ),
    "tensor without name": (lambda g: g.tensor(b"", (8,)), "a tensor's name is empty"),
    "tensor twice": (
        lambda g: g.tensor(b"t", (8,)).tensor(b"t", (8,), offset=32),
        "tensor 't' occurs twice",
    ),
    "no dimensions": (lambda g: g.tensor(b"t", ()), "'t' has 0 dimensions, not 1 to 4"),
    "five dimensions": (lambda g: g.tensor(b"t", (1,) * 5), "'t' has 5 dimensions"),
    "2^32 - 1 dimensions": (
        lambda g: g.tensors.append(g.string(b"t") + U32.pack(2**32 - 1)),
        "'t' has 4294967295 dimensions",
    ),
    "dimension 0": (lambda g: g.tensor(b"t", (8, 0)), "'t' has dimensions [8, 0]"),
    "dimension 2^63": (lambda g: g.tensor(b"t", (2**63,)), "each must be 1 to 1099511627776"),
    "sizes that wrap in 64 bits": (lambda g: g.tensor(b"t", (2**32, 2**32, 4)), "'t' ends at"),
    "type": (lambda g: g.tensor(b"t", (8,), kind=43), "'t' is of unknown type 43"),
    "type 2^32 - 1": (lambda g: g.tensor(b"t", (8,), kind=2**32 - 1), "unknown type 4294967295"),
    "removed type": (lambda g: g.tensor(b"t", (32,), kind=31), "Q4_0_4_4, which GGML has removed"),
    "part of a block": (lambda g: g.tensor(b"t", (33,), kind=2), "not a multiple of Q4_0's 32"),
    "misaligned": (lambda g: g.tensor(b"t", (4,), offset=4), "'t' is at 4, not aligned to 32"),
    "overlap": (
        lambda g: g.tensor(b"a", (16,)).tensor(b"b", (4,), offset=32),
        "'b' overlaps 'a'",
    ),
    "past the end": (lambda g: g.tensor(b"t", (33,)), "'t' ends at 132 of 128 bytes of data"),
    "offset past the end": (lambda g: g.tensor(b"t", (1,), offset=2**64 - 32), "of 128 bytes"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_by_name(case: str, gguf, tmp_path: Path):
    """Each way in which a header can be wrong has an error that says so."""
    write, message = MALFORMED[case]
    gguf.data = bytes(128)
    write(gguf)

    with pytest.raises(CheckpointError) as error:
        _read(tmp_path, gguf.build() if "endless" not in case else gguf.header())
    assert message in error.value.message
    assert error.value.message.startswith("model.gguf: ")
    assert "(at byte " in error.value.message
    assert error.value.code == "bad_checkpoint"


def test_a_header_cut_anywhere_is_refused(valid_gguf, tmp_path: Path):
    """Every proper prefix of a file up to its last tensor byte raises our error and no other."""
    whole = valid_gguf.build()
    assert len(_read(tmp_path, whole).tensors) == 2

    for size in range(len(whole)):
        with pytest.raises(CheckpointError):
            _read(tmp_path, whole[:size])


def test_a_huge_count_in_a_tiny_file_takes_no_memory(gguf, tmp_path: Path):
    """Sizes are compared with the file before anything is walked or allocated."""
    content = gguf.array(b"a", 8, 2**60, b"").header()
    tracemalloc.start()

    with pytest.raises(CheckpointError):
        _read(tmp_path, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_strings_are_bounded_in_number(gguf, tmp_path: Path):
    """Stepping over strings is bounded in time: more than any vocabulary has are refused."""
    content = gguf.array(b"a", 8, 2**22 + 1, bytes(8 * (2**22 + 1))).header()

    with pytest.raises(CheckpointError, match="more than 4194304 strings"):
        _read(tmp_path, content)


def test_headers_are_bounded_in_bytes(valid_gguf, tmp_path: Path):
    """A header is read up to a limit, whatever the file's size."""
    path = tmp_path / "model.gguf"
    path.write_bytes(valid_gguf.build())

    with pytest.raises(CheckpointError, match="larger than 100 bytes"):
        read_gguf_header(SourceFile(path), max_bytes=100)


@pytest.mark.parametrize("version", [2, 3])
def test_values_are_those_written(version: int, valid_gguf, tmp_path: Path):
    """Versions 2 and 3 give the same keys and tensors; shapes are outermost first."""
    valid_gguf.version = version
    valid_gguf.tensor(b"three.weight", (32, 3), kind=2, offset=128).data += bytes(54)
    header = _read(tmp_path, valid_gguf.build())

    assert dict(header.metadata) == {
        "general.architecture": "llama",
        "count": 7,
        "scale": 0.5,
        "flag": True,
        "tokens": ["a", "é"],
        "types": [1, -2, 3],
    }
    described = [(t.info.name, t.info.shape, t.info.type, t.info.nbytes) for t in header.tensors]
    assert described == [
        ("one.weight", (4, 4), "F32", 64),
        ("two.weight", (16,), "F32", 64),
        ("three.weight", (3, 32), "Q4_0", 54),
    ]


def test_alignment_is_obeyed(gguf, tmp_path: Path):
    """Data begins at the alignment that the file itself states."""
    gguf.alignment = 4096
    gguf.key(b"general.alignment", 4, U32.pack(4096)).tensor(b"t", (2,))
    gguf.data = b"wxyz1234"

    tensor = _read(tmp_path, gguf.build()).tensors[0]
    assert tensor.offset == 4096
    assert bytes(tensor.file.view(tensor.offset, tensor.info.nbytes)) == b"wxyz1234"


@settings(
    max_examples=400,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_mutated_file_opens_or_is_refused(data: st.DataObject, valid_gguf, tmp_path: Path):
    """Whatever bytes are changed, put in or cut out, only our error ever comes."""
    content = bytearray(valid_gguf.build())
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content) - 1))
        end = begin + data.draw(st.sampled_from([0, 1, 1, 1, 8]))
        content[begin:end] = data.draw(st.binary(max_size=8))

    try:
        header = _read(tmp_path, bytes(content))
        dict(header.metadata)
        for tensor in header.tensors:
            assert len(tensor.file.view(tensor.offset, tensor.info.nbytes)) == tensor.info.nbytes
    except CheckpointError:
        pass


def test_every_byte_flipped_opens_or_is_refused(valid_gguf, tmp_path: Path):
    """Each bit of a header may be wrong without another error than ours."""
    whole = valid_gguf.build()
    for index in range(len(valid_gguf.header())):
        for bit in (1, 0x80, 0xFF):
            content = whole[:index] + bytes([whole[index] ^ bit]) + whole[index + 1 :]
            try:
                dict(_read(tmp_path, content).metadata)
            except CheckpointError:
                continue
