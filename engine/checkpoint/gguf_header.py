"""One GGUF file's header. Source: ggml's docs/gguf.md, and gguf.cpp for what it leaves open."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from engine.checkpoint.checkpoint import StoredTensor, TensorInfo
from engine.checkpoint.ggml_types import REMOVED_TYPES, TYPES_BY_ID, GGMLType
from engine.checkpoint.gguf_cursor import GGUFCursor
from engine.checkpoint.gguf_metadata import GGUFMetadata, Value, read_value
from engine.checkpoint.source_file import SourceFile

MAX_HEADER_BYTES = 256 * 2**20
MAX_KEYS = 2**16
MAX_TENSORS = 2**17
MAX_NAME_BYTES = 64 * 2**10
MAX_DIMENSION = 2**40
MAX_DIMENSIONS = 4
MIN_ALIGNMENT, DEFAULT_ALIGNMENT, MAX_ALIGNMENT = 8, 32, 2**16

_MAGIC = b"GGUF"
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
_ALIGNMENT = "general.alignment"
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What one file says of itself. raw: the header's bytes, tensor infos included."""

    file: SourceFile
    metadata: GGUFMetadata
    tensors: list[StoredTensor]
    raw: bytearray


def read_gguf_header(file: SourceFile, max_bytes: int = MAX_HEADER_BYTES) -> GGUFHeader:
    """Reads and checks a file's header, and that every tensor lies inside the file."""
    _check_magic(file)
    cursor = GGUFCursor(file, max_bytes)
    cursor.skip(len(_MAGIC))
    _check_version(cursor)
    num_tensors = _count(cursor, "tensors", MAX_TENSORS)
    num_keys = _count(cursor, "keys", MAX_KEYS)
    values = _read_values(cursor, num_keys)
    alignment = values.get(_ALIGNMENT, DEFAULT_ALIGNMENT)
    assert isinstance(alignment, int)  # checked where it was read
    entries = [_TensorEntry.read(cursor) for _ in range(num_tensors)]
    data_start = -(-cursor.position // alignment) * alignment
    _check_places(cursor, entries, alignment, data_start)
    raw = cursor.data
    del raw[cursor.position :]  # what was read of the tensors
    tensors = [StoredTensor(e.info, file, data_start + e.offset) for e in entries]
    return GGUFHeader(file, GGUFMetadata(file.path.name, raw, values), tensors, raw)


def _check_magic(file: SourceFile) -> None:
    magic = file.read_at(0, min(file.size, len(_MAGIC)))
    if magic == _MAGIC:
        return
    file.refuse_foreign()
    if magic in _OLD_MAGICS:
        raise file.error("is a GGML file from before GGUF: convert the model anew", 0)
    raise file.error(f"is not GGUF: begins with {magic!r}", 0)


def _check_version(cursor: GGUFCursor) -> None:
    start = cursor.position
    version = cursor.number(_U32)
    if version & 0xFFFF == 0:
        raise cursor.error("is big-endian GGUF, which is not supported", start)
    if version not in {2, 3}:
        raise cursor.error(f"is GGUF version {version}; 2 and 3 are supported", start)


def _count(cursor: GGUFCursor, what: str, limit: int) -> int:
    start = cursor.position
    count = cursor.number(_U64)
    if count > limit:
        raise cursor.error(f"claims {count} {what}, limit {limit}", start)
    return count


def _read_values(cursor: GGUFCursor, num_keys: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for _ in range(num_keys):
        start = cursor.position
        key = cursor.text("a key", MAX_NAME_BYTES)
        if not key or key in values:
            raise cursor.error(f"key {key!r} occurs twice" if key else "a key is empty", start)
        values[key] = read_value(cursor, key)
        if key == _ALIGNMENT:
            _check_alignment(cursor, values[key], start)
    return values


def _check_alignment(cursor: GGUFCursor, alignment: Value, start: int) -> None:
    if (
        type(alignment) is not int
        or alignment.bit_count() != 1
        or not MIN_ALIGNMENT <= alignment <= MAX_ALIGNMENT
    ):
        limits = f"a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}"
        raise cursor.error(f"{_ALIGNMENT} is {alignment!r}, not {limits}", start)


@dataclass(frozen=True, slots=True)
class _TensorEntry:
    """start: where the entry stands in the header. offset: its data's, from where data begins."""

    info: TensorInfo
    offset: int
    start: int

    @classmethod
    def read(cls, cursor: GGUFCursor) -> "_TensorEntry":
        start = cursor.position
        name = cursor.text("a tensor's name", MAX_NAME_BYTES)
        if not name:
            raise cursor.error("a tensor's name is empty", start)
        sizes = _read_sizes(cursor, name)
        kind = _read_type(cursor, name)
        if sizes[0] % kind.block_size:
            what = f"rows of {sizes[0]}, not a multiple of {kind.name}'s {kind.block_size}"
            raise cursor.error(f"{name!r} has {what}", start)
        nbytes = prod(sizes) // kind.block_size * kind.block_bytes
        info = TensorInfo(name, tuple(reversed(sizes)), kind.name, nbytes)
        return cls(info, cursor.number(_U64), start)


def _read_sizes(cursor: GGUFCursor, name: str) -> list[int]:
    start = cursor.position
    num_dimensions = cursor.number(_U32)
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        what = f"{name!r} has {num_dimensions} dimensions, not 1 to {MAX_DIMENSIONS}"
        raise cursor.error(what, start)
    sizes = [cursor.number(_U64) for _ in range(num_dimensions)]
    if not all(1 <= size <= MAX_DIMENSION for size in sizes):
        what = f"{name!r} has dimensions {sizes}, each must be 1 to {MAX_DIMENSION}"
        raise cursor.error(what, start + 4)
    return sizes


def _read_type(cursor: GGUFCursor, name: str) -> GGMLType:
    start = cursor.position
    type_id = cursor.number(_U32)
    if kind := TYPES_BY_ID.get(type_id):
        return kind
    if removed := REMOVED_TYPES.get(type_id):
        what = f"is of type {removed}, which GGML has removed: convert the model anew"
    else:
        what = f"is of unknown type {type_id}"
    raise cursor.error(f"{name!r} {what}", start)


def _check_places(
    cursor: GGUFCursor, entries: list[_TensorEntry], alignment: int, data_start: int
) -> None:
    names: set[str] = set()
    for entry in entries:
        if what := _misplaced(entry, alignment, cursor.file_size - data_start):
            raise cursor.error(f"{entry.info.name!r} {what}", entry.start)
        if entry.info.name in names:
            raise cursor.error(f"tensor {entry.info.name!r} occurs twice", entry.start)
        names.add(entry.info.name)
    for before, after in _neighbours(entries):
        if before.offset + before.info.nbytes > after.offset:
            what = f"{after.info.name!r} overlaps {before.info.name!r}"
            raise cursor.error(what, after.start)


def _misplaced(entry: _TensorEntry, alignment: int, data_bytes: int) -> str | None:
    if entry.offset % alignment:
        return f"is at {entry.offset}, not aligned to {alignment}"
    if entry.offset + entry.info.nbytes > data_bytes:
        return f"ends at {entry.offset + entry.info.nbytes} of {max(0, data_bytes)} bytes of data"
    return None


def _neighbours(entries: list[_TensorEntry]) -> Iterator[tuple[_TensorEntry, _TensorEntry]]:
    return pairwise(sorted(entries, key=lambda entry: entry.offset))
