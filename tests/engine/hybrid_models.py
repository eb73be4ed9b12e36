"""Tiny hybrid models that transformers makes from a seed, in both formats, and their contract."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from engine.checkpoint import open_checkpoint
from engine.models.blueprint import blueprint
from engine.nn.decoder import CausalLM
from engine.nn.recording import record
from tests.engine.batches import Sequences, logprobs_of
from tests.engine.fixture_models import add_key
from tests.engine.made_models import PROMPT

FAR = 1e-3
SAME = 1e-4

Change = Callable[[Tensor], Tensor]


def save(model: PreTrainedModel, folder: Path) -> Path:
    """The checkpoint as it would be published; biases that are stored as buffers are random, too."""
    stored = model.state_dict()
    generator = torch.Generator().manual_seed(5)
    for name, buffer in model.named_buffers():
        if name in stored and name.endswith("bias"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def write_gguf(
    folder: Path,
    path: Path,
    arch: gguf.MODEL_ARCH,
    keys: Mapping[str, Any],
    *,
    renames: Mapping[str, str] | None = None,
    changes: Mapping[str, Change] | None = None,
    splits: Mapping[str, tuple[str, ...]] | None = None,
    leave_out: tuple[str, ...] = (),
    architecture: str = "",
    extra: Mapping[str, Tensor] | None = None,
) -> Path:
    """The same model under gguf-py's names, with experts stacked.

    renames: parts of names that the converter changes, before it looks them up or after. changes:
    of the tensors whose names in the file end so. splits: equal shares of the rows of tensors with
    such parts in their names, by what the file calls them. leave_out: ends of names. architecture: where gguf-py does not
    know it; arch is then one with the same names. extra: tensors under GGUF's own names.
    """
    architecture = architecture or gguf.MODEL_ARCH_NAMES[arch]
    names = gguf.get_tensor_name_map(arch, keys["block_count"])
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        add_key(writer, f"{architecture}.{key}", value)
    whole = load_file(folder / "model.safetensors")
    stored = _stacked({k: v for k, v in whole.items() if not k.endswith(leave_out)})
    for name, tensor in _split(stored, splits or {}).items():
        found = _renamed(name, renames or {})
        found = names.get_name(found, try_suffixes=(".weight", ".bias")) or found
        found = _renamed(found, renames or {})
        assert found.startswith(("blk.", "token_", "output", "position_embd")), found
        for ending, change in (changes or {}).items():
            tensor = change(tensor) if found.endswith(ending) else tensor  # noqa: PLW2901
        writer.add_tensor(found, tensor.float().contiguous().numpy())
    for name, tensor in (extra or {}).items():
        writer.add_tensor(name, tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


MAMBA_RENAMES = {".dt_bias": ".dt_proj.bias"}
"""What the converter calls it before it looks it up."""

MAMBA_CHANGES: Mapping[str, Change] = {
    "ssm_a": lambda tensor: -torch.exp(tensor),
    "ssm_conv1d.weight": lambda tensor: tensor.squeeze(1),
}


def heads_as_columns(changes: Mapping[str, Change]) -> dict[str, Change]:
    """As converters store Mamba-2's vectors of heads: one to a row."""
    return {
        **changes,
        "ssm_a": lambda tensor: -torch.exp(tensor)[:, None],
        "ssm_d": lambda tensor: tensor[:, None],
    }


def permuted(num_heads: int) -> Change:
    """The order of rows that an interleaved rope wants."""

    def change(rows: Tensor) -> Tensor:
        return rows.view(num_heads, 2, -1, rows.shape[-1]).transpose(1, 2).reshape(rows.shape)

    return change


def check(model: CausalLM, expected: Tensor) -> None:
    """The log-probs of PROMPT, whole, in chunks, token by token, and beside another sequence."""
    assert (logprobs_of(model, PROMPT) - expected).abs().max() <= FAR
    for size in (1, 5):
        sequences = Sequences(model, 2, len(PROMPT))
        parts = []
        for start in range(0, len(PROMPT), size):
            chunk = PROMPT[start : start + size]
            parts.append(sequences.step({1: chunk[::-1], 0: chunk})[0])

        assert (torch.cat(parts) - expected).abs().max() <= FAR


def check_uses_all(path: Path) -> None:
    """Every stored tensor goes into the model, and its forward is a list of ops."""
    with open_checkpoint(path) as checkpoint:
        plan = blueprint(checkpoint)
        used = {source.tensor.name for binding in plan.bindings for source in binding.sources}

        assert used == checkpoint.tensors.keys()
    assert record(plan.model, 5, torch.bfloat16).calls


def _renamed(name: str, renames: Mapping[str, str]) -> str:
    for old, new in renames.items():
        name = name.replace(old, new)
    return name


def _split(
    stored: Mapping[str, Tensor], splits: Mapping[str, tuple[str, ...]]
) -> dict[str, Tensor]:
    """With the parts of fused matrices as tensors of their own, under GGUF's names."""
    found: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        parts = next((parts for whole, parts in splits.items() if whole in name), None)
        if parts is None:
            found[name] = tensor
            continue
        layer = name.split(".")[2]
        for part, rows in zip(
            parts, tensor.chunk(len(parts), dim=max(-2, -tensor.ndim)), strict=True
        ):
            found[f"blk.{layer}.{part}.weight"] = rows
    return found


def _stacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The experts of a layer in one tensor, by their name without the number."""
    found = dict(stored)
    for name in stored:
        if ".experts.0." in name:
            pattern = re.compile(re.escape(name).replace(r"experts\.0", r"experts\.(\d+)"))
            numbered = {int(m[1]): each for each in stored if (m := pattern.fullmatch(each))}
            stack = torch.stack([found.pop(numbered[index]) for index in sorted(numbered)])
            found[name.replace(".experts.0.", ".experts.")] = stack
    return found
