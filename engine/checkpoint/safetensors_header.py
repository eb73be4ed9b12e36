"""One safetensors file's header. Source: the format section of the safetensors README."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from engine.checkpoint.checkpoint import StoredTensor, TensorInfo
from engine.checkpoint.source_file import SourceFile
from engine.checkpoint.strict_json import parse_object

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_TENSORS = 2**17
MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**40

_LENGTH_BYTES = 8
_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What one file holds. raw: the header's JSON."""

    file: SourceFile
    tensors: dict[str, StoredTensor]
    raw: bytes


def read_safetensors_header(file: SourceFile) -> SafetensorsHeader:
    """Reads and checks a header: its tensors cover the rest of the file without hole or overlap."""
    _check_kind(file)
    size = int.from_bytes(file.read_at(0, _LENGTH_BYTES), "little")
    if size > MAX_HEADER_BYTES:
        raise file.error(f"claims a header of {size} bytes, limit {MAX_HEADER_BYTES}", 0)
    data_start = _LENGTH_BYTES + size
    if data_start > file.size:
        raise file.error(f"claims a header of {size} bytes, the file has {file.size}", 0)
    raw = file.read_at(_LENGTH_BYTES, size)
    entries = parse_object(file, raw, _LENGTH_BYTES)
    _check_metadata(file, entries.pop("__metadata__", {}))
    if len(entries) > MAX_TENSORS:
        raise file.error(f"holds {len(entries)} tensors, limit {MAX_TENSORS}", _LENGTH_BYTES)
    tensors = {name: _tensor(file, name, entry, data_start) for name, entry in entries.items()}
    _check_coverage(file, tensors, data_start)
    return SafetensorsHeader(file, tensors, raw)


def _check_kind(file: SourceFile) -> None:
    # What a file begins with says nothing by itself: the length may be any bytes.
    head = file.read_at(0, min(file.size, _LENGTH_BYTES + 1))
    if not head.endswith(b"{") or len(head) <= _LENGTH_BYTES:
        file.refuse_foreign()
        raise file.error("is not safetensors: no JSON object follows its length", _LENGTH_BYTES)


def _check_metadata(file: SourceFile, metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise file.error("has a __metadata__ that is not a table of strings", _LENGTH_BYTES)


def _tensor(file: SourceFile, name: str, entry: Any, data_start: int) -> StoredTensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise file.error(f"{name!r} must have dtype, shape and data_offsets", _LENGTH_BYTES)
    dtype, shape = entry["dtype"], entry["shape"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise file.error(f"{name!r} is of unknown dtype {dtype!r}", _LENGTH_BYTES)
    if not _is_shape(shape):
        raise file.error(f"{name!r} has a shape that is not accepted", _LENGTH_BYTES)
    begin, end = _offsets(file, name, entry)
    if bits * prod(shape) != 8 * (end - begin):
        what = (
            f"{name!r} takes {end - begin} bytes, {dtype} of {shape} takes {bits * prod(shape)}/8"
        )
        raise file.error(what, data_start + begin)
    info = TensorInfo(name, tuple(shape), dtype, end - begin)
    return StoredTensor(info, file, data_start + begin)


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= MAX_DIMENSIONS
        # `type() is`, since True is an int
        and all(type(size) is int and 0 <= size <= MAX_DIMENSION for size in shape)
    )


def _offsets(file: SourceFile, name: str, entry: Mapping[str, Any]) -> tuple[int, int]:
    match entry["data_offsets"]:
        case [int(begin), int(end)] if 0 <= begin <= end and bool not in {type(begin), type(end)}:
            return begin, end
        case _:
            raise file.error(f"{name!r} has data_offsets that are not accepted", _LENGTH_BYTES)


def _check_coverage(file: SourceFile, tensors: Mapping[str, StoredTensor], data_start: int) -> None:
    covered = data_start
    # Empty tensors sort before the one that begins at the same byte.
    for tensor in sorted(tensors.values(), key=lambda t: (t.offset, t.info.nbytes)):
        if tensor.offset != covered:
            what = (
                "overlaps the one before" if tensor.offset < covered else "leaves a hole before it"
            )
            raise file.error(f"{tensor.info.name!r} {what}", covered)
        covered += tensor.info.nbytes
    if covered != file.size:
        raise file.error(f"has {file.size} bytes, its tensors end elsewhere", covered)
