from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.checkpoint.checkpoint import Checkpoint, Digest, StoredTensor
from engine.checkpoint.folder import ModelFolder
from engine.checkpoint.safetensors_header import SafetensorsHeader, read_safetensors_header
from engine.checkpoint.source_file import SourceFile
from engine.checkpoint.strict_json import read_json_object

MAX_JSON_BYTES = 16 * 2**20
MAX_INDEX_BYTES = 128 * 2**20  # a million names of expert tensors
MAX_SHARDS = 1024
MAX_TENSORS = 2**20
MAX_HEADERS_BYTES = 256 * 2**20

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_CONFIG = "config.json"
_GENERATION_CONFIG = "generation_config.json"
_TEXT_SUFFIXES = frozenset({".json", ".txt", ".model", ".jinja"})


class SafetensorsCheckpoint(Checkpoint):
    """A Hugging Face model folder: safetensors in one file or in shards, and config.json."""

    format = "safetensors"

    def __init__(self, path: Path) -> None:
        self._folder = folder = ModelFolder(path)
        headers, stored = _with_modules(folder, *_read_tensors(folder))
        files = [header.file for header in headers]
        self._modules = folder.module_configs()
        self._texts = [*_texts(folder), *self._modules.values()]
        super().__init__(path, files, stored, _digest(self._texts, headers))
        self.config = read_json_object(folder.file(_CONFIG), MAX_JSON_BYTES)
        self.generation_config: dict[str, Any] = {}
        if folder.has(_GENERATION_CONFIG):
            file = folder.file(_GENERATION_CONFIG)
            self.generation_config = read_json_object(file, MAX_JSON_BYTES)

    @property
    def read_from(self) -> list[tuple[Path, tuple[int, int, int]]]:
        texts = [(file.path, file.stamp) for file in self._texts]
        return [*super().read_from, *texts, (self._folder.path, self._folder.stamp)]

    def read_text(self, name: str, limit: int) -> str | None:
        """A text file of the folder; None where there was none of that name when it was opened.

        name: plain, or `<number>_<module>/config.json`. Raises `CheckpointError` for one of more than `limit` bytes or that is not UTF-8.
        """
        file = self._modules.get(name)
        if file is None:
            if not self._folder.has(name):
                return None
            file = self._folder.file(name)
        if file.size > limit:
            raise file.error(f"is {file.size} bytes long, limit {limit}")
        try:
            return file.read_at(0, file.size).decode()
        except UnicodeDecodeError as error:
            raise file.error("is not UTF-8", error.start) from None


def _read_tensors(
    folder: ModelFolder,
) -> tuple[list[SafetensorsHeader], Mapping[str, StoredTensor]]:
    # As transformers does: the single file wins over an index beside it.
    if folder.has(_SINGLE):
        header = read_safetensors_header(folder.file(_SINGLE))
        return [header], header.tensors
    if folder.has(_INDEX):
        return _read_shards(folder)
    raise folder.error(folder.why_no_model())


def _with_modules(
    folder: ModelFolder, headers: list[SafetensorsHeader], stored: Mapping[str, StoredTensor]
) -> tuple[list[SafetensorsHeader], Mapping[str, StoredTensor]]:
    """And the tensors of modules behind the model, under `<number>_<module>.` and their names."""
    headers, stored = [*headers], dict(stored)
    for module, file in folder.module_tensors().items():
        header = read_safetensors_header(file)
        headers.append(header)
        for name, tensor in header.tensors.items():
            path = f"{module}.{name}"
            stored[path] = replace(tensor, info=replace(tensor.info, name=path))
    return headers, stored


def _read_shards(
    folder: ModelFolder,
) -> tuple[list[SafetensorsHeader], Mapping[str, StoredTensor]]:
    index = folder.file(_INDEX)
    weight_map = _weight_map(index)
    headers: dict[str, SafetensorsHeader] = {}
    budget = MAX_HEADERS_BYTES
    for name in sorted(set(weight_map.values())):
        headers[name] = read_safetensors_header(folder.file(name))
        budget -= len(headers[name].raw)
        if budget < 0:
            raise index.error(f"names shards with over {MAX_HEADERS_BYTES} bytes of headers")
    stored = {}
    for tensor, shard in weight_map.items():
        if tensor not in headers[shard].tensors:
            raise index.error(f"says that {shard} holds {tensor!r}, it does not")
        stored[tensor] = headers[shard].tensors[tensor]
    return list(headers.values()), stored


def _weight_map(index: SourceFile) -> dict[str, str]:
    weight_map = read_json_object(index, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise index.error("has no weight_map")
    if len(weight_map) > MAX_TENSORS:
        raise index.error(f"names {len(weight_map)} tensors, limit {MAX_TENSORS}")
    for shard in weight_map.values():
        if not isinstance(shard, str) or not shard.endswith(".safetensors"):
            raise index.error(f"names a shard {shard!r}, which is not a .safetensors file")
    num_shards = len(set(weight_map.values()))
    if num_shards > MAX_SHARDS:
        raise index.error(f"names {num_shards} shards, limit {MAX_SHARDS}")
    return weight_map


def _texts(folder: ModelFolder) -> list[SourceFile]:
    """What describes the model beside its weights."""
    names = (name for name in folder.names if Path(name).suffix in _TEXT_SUFFIXES)
    return [folder.file(name) for name in names if (folder.path / name).is_file()]


def _digest(texts: list[SourceFile], headers: list[SafetensorsHeader]) -> str:
    digest = Digest()
    for header in headers:
        digest.add(header.raw, header.file.size)
    # Tokenizers are cached by digest, so a change beside the weights must show in it too.
    for file in texts:
        content = file.read_at(0, min(file.size, MAX_JSON_BYTES))
        digest.add(file.path.name.encode(errors="surrogateescape"), file.size)
        digest.add(content)
    return digest.hex()
