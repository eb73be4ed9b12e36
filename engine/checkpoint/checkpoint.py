import hashlib
from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Self

from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.source_file import SourceFile


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A stored tensor. shape: outermost first, as torch has it: a matrix is (out, in).

    type: the name GGML has for it ("F32", "BF16", "Q4_K", ...), else the one safetensors has.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor and the bytes of the file that hold it."""

    info: TensorInfo
    file: SourceFile
    offset: int


class Checkpoint(ABC):
    """A model's files, of which only headers have been read.

    `digest` identifies the headers (with what text describes the model beside them) and the files'
    sizes; it does not cover the tensors' bytes.
    """

    format: Literal["gguf", "safetensors"]

    def __init__(
        self,
        path: Path,
        files: Iterable[SourceFile],
        stored: Mapping[str, StoredTensor],
        digest: str,
    ) -> None:
        self.path = path
        self.digest = digest
        self._files = tuple(files)
        self._stored = stored
        self.file_bytes = sum(file.size for file in self._files)
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(
            {name: tensor.info for name, tensor in stored.items()}
        )

    @property
    def files(self) -> tuple[SourceFile, ...]:
        return self._files

    @property
    def read_from(self) -> list[tuple[Path, tuple[int, int, int]]]:
        """All that says what the model is: paths, with their stamps when they were first seen."""
        return [(file.path, file.stamp) for file in self._files]

    def read(self, name: str) -> memoryview:
        """A tensor's bytes: a read-only view of the mapped file, without a copy.

        The view outlives `close`. Raises `CheckpointError` for an unknown name, and where a file
        was changed since it was opened. Copy what is kept: a file cut short later is a bus error.
        """
        tensor = self._stored.get(name)
        if tensor is None:
            raise CheckpointError(f"{self.path.name}: has no tensor {name!r}")
        return tensor.file.view(tensor.offset, tensor.info.nbytes)

    def close(self) -> None:
        """Lets go of the maps; each is unmapped with the last view of it."""
        for file in self._files:
            file.forget_map()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Digest:
    """SHA-256 over parts, each preceded by its length so that no two lists of parts agree."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, part: bytes | bytearray, *numbers: int) -> None:
        for number in (len(part), *numbers):
            self._hash.update(number.to_bytes(8, "little"))
        self._hash.update(part)

    def hex(self) -> str:
        return self._hash.hexdigest()
