"""The tiny models with reference results, and checkpoints made from them with something changed."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "tests/fixtures"
NUM_FULL_SET = 81

GGUF_SAYS_LESS = {
    "gptoss-truncate-false": "no key for whether yarn rounds its range to whole dimensions",
    "starcoder2-swa": "the starcoder2 architecture has no key for a sliding window",
    "mistral-swa": "the llama architecture has no key for a sliding window",
}
"""Models whose GGUF lacks a key: what it does say is another model, with llama.cpp's results.

All other GGUF files that llama.cpp departs from are held to the published model.
"""


def fixture_root() -> Path:
    """$FIXTURES, else the full set beside the repository, else what is committed of it."""
    full = Path(os.environ.get("FIXTURES", ROOT.parent / "shared/fixtures/dev"))
    return full if full.is_dir() else COMMITTED


@dataclass(frozen=True)
class Variant:
    """One form of one model: path of its checkpoint, with what is expected of it."""

    model: str
    key: str

    def __str__(self) -> str:
        return self.key if self.key.startswith(self.model) else f"{self.model}/{self.key}"

    @property
    def path(self) -> Path:
        return fixture_root() / self.model / self.key

    @property
    def prompts(self) -> list[list[int]]:
        return reference(self.model)["prompts"]

    @property
    def results(self) -> list[dict[str, Any]]:
        files = reference(self.model)["files"]
        if self.key.endswith(".gguf") and self.model in GGUF_SAYS_LESS:
            said = files[self.key]["engine_results"]
            return [{"greedy_margin": [1.0] * len(result["greedy"])} | result for result in said]
        return files[self.key].get("results") or files["hf"]["results"]

    @property
    def is_quantised(self) -> bool:
        return self.model.endswith("-q")


@cache
def reference(model: str) -> dict[str, Any]:
    return json.loads((fixture_root() / model / "reference.json").read_bytes())


def variants(*prefixes: str) -> list[Variant]:
    """Every form of the models whose names begin so; of what is committed, some have but one."""
    folders = sorted(folder.name for folder in fixture_root().iterdir() if folder.is_dir())
    models = [name for name in folders if name.startswith(prefixes)]
    every = [Variant(model, key) for model in models for key in reference(model)["files"]]
    return [variant for variant in every if variant.path.exists()]


def hf_copy(
    folder: Path,
    model: str,
    *,
    config: Mapping[str, Any] | None = None,
    tensors: Mapping[str, torch.Tensor | None] | None = None,
) -> Path:
    """A copy of a safetensors fixture with keys and tensors changed, or None to leave them out."""
    source = COMMITTED / model / "hf"
    changed = json.loads((source / "config.json").read_bytes()) | dict(config or {})
    stored = load_file(source / "model.safetensors") | dict(tensors or {})
    return write_hf(folder, _given(changed), _given(stored))


def write_hf(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
    )
    return folder


def gguf_copy(
    path: Path,
    model: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    leave_out: frozenset[str] = frozenset(),
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """A copy of a full-precision GGUF fixture with keys of its architecture changed or left out.

    tensors: float32 ones that it holds besides.
    """
    (source,) = (COMMITTED / model).glob("*.gguf")
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    values = {
        name.removeprefix(f"{arch}."): field.contents()
        for name, field in reader.fields.items()
        if name.startswith(f"{arch}.")
    }
    writer = gguf.GGUFWriter(path, arch)
    for key, value in _given(values | dict(metadata or {})).items():
        add_key(writer, f"{arch}.{key}", value)
    for tensor in reader.tensors:
        if tensor.name not in leave_out:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    for name, values_of in (tensors or {}).items():
        writer.add_tensor(name, values_of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_fused(path: Path, source: Path) -> Path:
    """A copy of a GGUF file with q, k and v of each layer in one tensor, stored as they were."""
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path, arch)
    for key, field in reader.fields.items():
        if key.startswith(f"{arch}."):
            add_key(writer, key, field.contents())
    stored = {tensor.name: tensor for tensor in reader.tensors}
    for name, tensor in stored.items():
        if "attn_q." in name:
            parts = [stored[name.replace("attn_q.", f"attn_{part}.")].data for part in "qkv"]
            fused = name.replace("attn_q.", "attn_qkv.")
            writer.add_tensor(fused, np.concatenate(parts), raw_dtype=tensor.tensor_type)
        elif not any(part in name for part in ("attn_k.", "attn_v.")):
            writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_key(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Of the type that the value has."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
