"""How a checkpoint's hidden states become one vector: what sentence-transformers' files and GGUF say.

sentence-transformers lists modules in modules.json, each with a folder: `1_Pooling/config.json`.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from engine.checkpoint import CheckpointError, SafetensorsCheckpoint
from engine.models.known_names import is_named

Pooling = Literal["mean", "cls", "last", "rank"]
"""rank: no vector but a score, of a pair of texts."""

GGUF_POOLINGS: Mapping[object, Pooling | None] = {
    0: None,
    1: "mean",
    2: "cls",
    3: "last",
    4: "rank",
}
"""By the number that `<architecture>.pooling_type` is: enum llama_pooling_type of llama.cpp."""

GGUF_DENSE_SIZES = ("dense_2_feat_out", "dense_3_feat_out")
"""Keys of what matrices behind the pooling give: of sentence-transformers' 2_Dense and 3_Dense."""

MODULE_FIELDS = frozenset({"pooling", "normalizes", "dense_sizes", "rank_token_ids"})
"""Fields of a config that modules.json is read for, and no keys of config.json."""

_MODES: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_QWEN3_RERANKER: Mapping[str, Any] = {"pooling": "rank", "rank_token_ids": (9693, 2152)}
"""Ids of "yes" and "no" in the vocabulary of all its sizes."""

_MAX_BYTES = 2**20


def hf_pooling(checkpoint: SafetensorsCheckpoint) -> dict[str, Any]:
    """The config fields of `MODULE_FIELDS` that modules.json says; without it a name may say them.

    Raises `CheckpointError` for modules and poolings that we do not have.
    """
    modules = _read(checkpoint, "modules.json")
    if not isinstance(modules, list):
        return dict(_QWEN3_RERANKER) if _is_qwen3_reranker(checkpoint) else {}
    found: dict[str, Any] = {"normalizes": False}
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        if kind == "Pooling":
            found["pooling"] = _pooling(checkpoint, str(module.get("path")))
        elif kind == "Dense":
            sizes = found.setdefault("dense_sizes", [])
            sizes.append(_dense_size(checkpoint, str(module.get("path")), len(sizes)))
        elif kind == "LogitScore":
            found |= _logit_score(checkpoint, str(module.get("path")))
        elif kind == "Normalize":
            found["normalizes"] = True
        elif kind != "Transformer":
            raise _unsupported(checkpoint, f"module {kind[:80]!r} of modules.json")
    return found


def hf_prompts(checkpoint: SafetensorsCheckpoint) -> dict[str, str]:
    """What sentence-transformers puts before a text, by what the text is for."""
    config = _read(checkpoint, "config_sentence_transformers.json")
    prompts = config.get("prompts") if isinstance(config, dict) else None
    found = prompts.items() if isinstance(prompts, dict) else ()
    return {name: text for name, text in found if isinstance(text, str)}


def _is_qwen3_reranker(checkpoint: SafetensorsCheckpoint) -> bool:
    """By its name, as llama.cpp's converter knows it: its first files tell it from no chat model."""
    is_decoder = checkpoint.config.get("architectures") == ["Qwen3ForCausalLM"]
    return is_decoder and is_named(checkpoint, "qwen3-reranker")


def _dense_size(checkpoint: SafetensorsCheckpoint, folder: str, index: int) -> Any:
    """How wide a matrix makes its vectors. Those behind a pooling are 2_Dense and 3_Dense."""
    config = _object(checkpoint, folder)
    activation = str(config.get("activation_function", "")).rpartition(".")[2]
    if folder != f"{index + 2}_Dense" or activation != "Identity" or config.get("bias") is True:
        raise _unsupported(
            checkpoint, f"module {folder[:80]!r} with {activation[:80] or 'nothing'}"
        )
    return config.get("out_features")


def _logit_score(checkpoint: SafetensorsCheckpoint, folder: str) -> dict[str, Any]:
    config = _object(checkpoint, folder)
    ids = config.get("true_token_id"), config.get("false_token_id")
    return {"pooling": "rank", "rank_token_ids": [each for each in ids if each is not None]}


def _pooling(checkpoint: SafetensorsCheckpoint, folder: str) -> Pooling:
    config = _object(checkpoint, folder)
    named = config.get("pooling_mode")
    active = {
        mode for mode, is_on in config.items() if mode.startswith("pooling_mode_") and is_on is True
    }
    if named is not None:  # as version 5 writes it
        active = {
            f"pooling_mode_{named}",
            f"pooling_mode_{named}_token",
            f"pooling_mode_{named}_tokens",
        }
        active &= _MODES.keys()
    if len(active) != 1 or not active <= _MODES.keys():
        what = ", ".join(sorted(active)) or str(named)[:80]
        raise _unsupported(checkpoint, f"pooling {what} of {folder}")
    return _MODES[active.pop()]


def _object(checkpoint: SafetensorsCheckpoint, folder: str) -> dict[str, Any]:
    """A module's config.json; empty without one."""
    config = _read(checkpoint, f"{folder}/config.json")
    return config if isinstance(config, dict) else {}


def _read(checkpoint: SafetensorsCheckpoint, name: str) -> Any:
    text = checkpoint.read_text(name, _MAX_BYTES)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{checkpoint.path.name}/{name} is not JSON: {error}") from error


def _unsupported(checkpoint: SafetensorsCheckpoint, what: str) -> CheckpointError:
    return CheckpointError(f"{checkpoint.path.name}: {what} is not supported")
