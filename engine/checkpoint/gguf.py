import re
from pathlib import Path

from engine.checkpoint.checkpoint import Checkpoint, Digest, StoredTensor
from engine.checkpoint.gguf_header import MAX_HEADER_BYTES, GGUFHeader, read_gguf_header
from engine.checkpoint.gguf_metadata import GGUFMetadata
from engine.checkpoint.source_file import SourceFile

MAX_PARTS = 1024
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.gguf", re.DOTALL)


class GGUFCheckpoint(Checkpoint):
    """A GGUF model, whole or split into parts. `metadata` is the first part's."""

    format = "gguf"
    metadata: GGUFMetadata

    def __init__(self, path: Path) -> None:
        headers = _read_parts(path)
        digest = Digest()
        for header in headers:
            digest.add(header.raw, header.file.size)
        files = [header.file for header in headers]
        super().__init__(path, files, _merge(headers), digest.hex())
        self.metadata = headers[0].metadata


def _read_parts(path: Path) -> list[GGUFHeader]:
    first = read_gguf_header(SourceFile(path))
    num_parts = _num_parts(first, default=1)
    headers = [first]
    for part_path in _other_parts(first, num_parts):
        # All parts share one limit, so that many small files cannot go round it.
        budget = MAX_HEADER_BYTES - sum(len(header.raw) for header in headers)
        headers.append(read_gguf_header(SourceFile(part_path), budget))
    for index, header in enumerate(headers):
        _check_part(header, index, num_parts)
    total = _number(first, "split.tensors.count", default=-1)
    found = sum(len(header.tensors) for header in headers)
    if num_parts > 1 and total not in {-1, found}:
        raise first.file.error(f"says that the parts hold {total} tensors, they hold {found}")
    return headers


def _other_parts(first: GGUFHeader, num_parts: int) -> list[Path]:
    path = first.file.path
    named = _PART.fullmatch(path.name)
    number, total = (int(named["number"]), int(named["total"])) if named else (1, 1)
    if number != 1:
        raise first.file.error(f"is part {number} of {total}: open part 1")
    if total != num_parts:
        raise first.file.error(f"is one of {num_parts} parts, its name says one of {total}")
    if not 1 <= num_parts <= MAX_PARTS:
        raise first.file.error(f"has {num_parts} parts, limit {MAX_PARTS}")
    if not named:
        return []
    return [
        path.with_name(f"{named['stem']}-{i:05}-of-{total:05}.gguf") for i in range(2, total + 1)
    ]


def _check_part(header: GGUFHeader, index: int, num_parts: int) -> None:
    # Parts are numbered from 0 in the header and from 1 in the name.
    number = _number(header, "split.no", default=index)
    count = _num_parts(header, default=num_parts)
    if (number, count) != (index, num_parts):
        what = f"says it is part {number + 1} of {count}, not {index + 1} of {num_parts}"
        raise header.file.error(what)


def _num_parts(header: GGUFHeader, *, default: int) -> int:
    # Merging parts with llama.cpp's gguf-split leaves the keys, with a count of 0.
    return _number(header, "split.count", default=default) or 1


def _number(header: GGUFHeader, key: str, *, default: int) -> int:
    value = header.metadata.get(key, default)
    if type(value) is not int:
        raise header.file.error(f"{key} is not an integer")
    return value


def _merge(headers: list[GGUFHeader]) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    for header in headers:
        for tensor in header.tensors:
            if tensor.info.name in stored:
                raise header.file.error(f"tensor {tensor.info.name!r} is in an earlier part too")
            stored[tensor.info.name] = tensor
    return stored
