"""How a checkpoint's hidden states become one vector: what sentence-transformers' files and GGUF say.

sentence-transformers lists modules in modules.json, each with a folder: `1_Pooling/config.json`.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from engine.checkpoint import CheckpointError, SafetensorsCheckpoint

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

_MODES: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_MAX_BYTES = 2**20


def hf_pooling(checkpoint: SafetensorsCheckpoint) -> dict[str, Any]:
    """The config fields `pooling` and `normalizes`; none without a modules.json.

    Raises `CheckpointError` for modules and poolings that we do not have.
    """
    modules = _read(checkpoint, "modules.json")
    if not isinstance(modules, list):
        return {}
    found: dict[str, Any] = {"normalizes": False}
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        if kind == "Pooling":
            found["pooling"] = _pooling(checkpoint, str(module.get("path")))
        elif kind == "Normalize":
            found["normalizes"] = True
        elif kind != "Transformer":
            raise _unsupported(checkpoint, f"module {kind[:80]!r} of modules.json")
    return found


def _pooling(checkpoint: SafetensorsCheckpoint, folder: str) -> Pooling:
    config = _read(checkpoint, f"{folder}/config.json")
    config = config if isinstance(config, dict) else {}
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


def _read(checkpoint: SafetensorsCheckpoint, name: str) -> Any:
    text = checkpoint.read_text(name, _MAX_BYTES)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{checkpoint.path.name}/{name} is not JSON: {error}") from error


def _unsupported(checkpoint: SafetensorsCheckpoint, what: str) -> CheckpointError:
    return CheckpointError(f"{checkpoint.path.name}: {what} is not supported")
