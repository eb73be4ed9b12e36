"""A family's config from a checkpoint of either format."""

import re
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar, get_type_hints

import msgspec
import structlog

from engine.checkpoint import Checkpoint, CheckpointError, GGUFCheckpoint, SafetensorsCheckpoint
from engine.models.config_keys import (
    HARMLESS_GGUF,
    HARMLESS_HF,
    NEUTRAL_GGUF,
    NEUTRAL_HF,
    is_neutral,
)
from engine.models.meta import BaseConfig, GGUFKey, GGUFLayers, GGUFTensor
from engine.models.pooling import GGUF_DENSE_SIZES, GGUF_POOLINGS, MODULE_FIELDS, hf_pooling
from engine.models.rope_keys import gguf_rope, hf_rope

C = TypeVar("C", bound=BaseConfig)

log = structlog.get_logger()

# What a wrapper may say once for itself and its text model.
_OF_THE_WHOLE = ("quantization_config", "tie_word_embeddings")


def read_config(checkpoint: Checkpoint, kind: type[C]) -> C:
    """Raises `CheckpointError` for keys that are missing, of no sense, or active and not honoured.

    Keys that nothing reads and that are not known to be harmless are logged, once per checkpoint.
    """
    try:
        return msgspec.convert(config_values(checkpoint, kind), kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path.name}: config: {error}") from error


def config_values(checkpoint: Checkpoint, kind: type[BaseConfig]) -> dict[str, Any]:
    """The config's fields as the checkpoint has them, not yet checked."""
    if isinstance(checkpoint, GGUFCheckpoint):
        return _gguf_values(checkpoint, kind)
    if isinstance(checkpoint, SafetensorsCheckpoint):
        return _hf_values(checkpoint, kind)
    raise TypeError(type(checkpoint).__name__)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The language model's part of a config.json, with what its wrapper says for it."""
    inner = config.get("text_config")
    if not isinstance(inner, Mapping):
        return dict(config)
    return {key: config[key] for key in _OF_THE_WHOLE if key in config} | dict(inner)


# --- Hugging Face -------------------------------------------------------------------------------


def _hf_values(checkpoint: SafetensorsCheckpoint, kind: type[BaseConfig]) -> dict[str, Any]:
    raw = text_config(checkpoint.config)
    # A key that a config class computes is written with an underscore: _sliding_window_pattern.
    raw |= {key[1:]: raw[key] for key in list(raw) if key[:1] == "_" and key[1:] not in raw}
    nulls = {key for key, value in raw.items() if value is None}
    raw = {key: value for key, value in raw.items() if value is not None}
    renamed = {field: raw[key] for field, key in kind.hf_names.items() if key in raw}
    raw = {key: raw[key] for key in raw.keys() - set(kind.hf_names.values())} | renamed
    fields = set(kind.__struct_fields__)
    _refuse_active(checkpoint, raw, fields, NEUTRAL_HF)
    _log_unread(checkpoint, raw.keys() - fields - NEUTRAL_HF.keys() - HARMLESS_HF)
    # A null is said, not left out: Gemma 2 without soft caps has them so.
    assumed = {key: value for key, value in kind.hf_defaults.items() if key not in nulls}
    own = fields - MODULE_FIELDS - {"score_labels"}
    values = assumed | {key: raw[key] for key in raw.keys() & own} | hf_pooling(checkpoint)
    values["score_labels"] = _hf_labels(checkpoint.config)
    values["rope_parameters"] = hf_rope(assumed | raw, kind.rope_thetas)
    return values


def _hf_labels(config: Mapping[str, Any]) -> int:
    """How many labels a classifier tells apart; two where a config does not say, as transformers."""
    named, labels = config.get("architectures"), config.get("id2label")
    if not any(str(each).endswith("ForSequenceClassification") for each in named or ()):
        return 0
    return len(labels) if isinstance(labels, Mapping) else 2


# --- GGUF ---------------------------------------------------------------------------------------


def _gguf_values(checkpoint: GGUFCheckpoint, kind: type[BaseConfig]) -> dict[str, Any]:
    prefix = f"{checkpoint.metadata['general.architecture']}."
    raw = {
        key.removeprefix(prefix): _scalar(checkpoint.metadata[key])
        for key in checkpoint.metadata
        if key.startswith(prefix)
    }
    tags = dict(_gguf_tags(kind))
    read = {tag.key for tag in tags.values() if isinstance(tag, GGUFKey)} | {*GGUF_DENSE_SIZES}
    _refuse_active(checkpoint, raw, read, NEUTRAL_GGUF)
    _log_unread(checkpoint, raw.keys() - read - NEUTRAL_GGUF.keys() - HARMLESS_GGUF)
    values: dict[str, Any] = {}
    for field, tag in tags.items():
        if isinstance(tag, GGUFTensor):
            found = any(fnmatchcase(name, tag.name) for name in checkpoint.tensors)
            values[field] = found == tag.present
        elif isinstance(tag, GGUFLayers):
            found_names = (re.fullmatch(tag.pattern, name) for name in checkpoint.tensors)
            values[field] = sorted(int(match[1]) for match in found_names if match)
        elif tag.key in raw:
            values[field] = raw[tag.key]
    if "pooling" in values:
        values["pooling"] = GGUF_POOLINGS.get(values["pooling"], values["pooling"])
    if "cls.output.weight" in checkpoint.tensors:
        values["score_labels"] = checkpoint.tensors["cls.output.weight"].shape[0]
    values["dense_sizes"] = [raw[key] for key in GGUF_DENSE_SIZES if key in raw]
    _leave_out_predictors(values)
    if "token_embd.weight" in checkpoint.tensors:
        values.setdefault("vocab_size", checkpoint.tensors["token_embd.weight"].shape[0])
    if "token_types.weight" in checkpoint.tensors:
        values["type_vocab_size"] = checkpoint.tensors["token_types.weight"].shape[0]
    values["rope_parameters"] = gguf_rope(raw, kind.rope_thetas)
    if "attention.value_length" not in read:
        _refuse_uneven_heads(checkpoint, raw)
    return values


def _leave_out_predictors(values: dict[str, Any]) -> None:
    """GGUF counts layers that predict further tokens among the others."""
    counted, predictors = (
        values.get(key) for key in ("num_hidden_layers", "num_nextn_predict_layers")
    )
    if isinstance(counted, int) and isinstance(predictors, int):
        values["num_hidden_layers"] = counted - predictors


def _gguf_tags(kind: type[BaseConfig]) -> Iterator[tuple[str, GGUFKey | GGUFTensor | GGUFLayers]]:
    for field, hint in get_type_hints(kind, include_extras=True).items():
        for tag in getattr(hint, "__metadata__", ()):
            if isinstance(tag, GGUFKey | GGUFTensor | GGUFLayers):
                yield field, tag


def _scalar(value: Any) -> Any:
    """A per-layer list whose entries agree is as good as one value."""
    if isinstance(value, list) and value and all(entry == value[0] for entry in value):
        return value[0]
    return value


def _refuse_uneven_heads(checkpoint: GGUFCheckpoint, raw: Mapping[str, Any]) -> None:
    """One head size for queries, keys and values is what most blocks have."""
    head_dim, key = raw.get("attention.key_length"), "attention.value_length"
    if head_dim is not None and raw.get(key, head_dim) != head_dim:
        what = f"{key} {raw[key]} beside attention.key_length {head_dim}"
        raise CheckpointError(f"{checkpoint.path.name}: {what} is not supported")


# --- both ---------------------------------------------------------------------------------------


def _refuse_active(
    checkpoint: Checkpoint,
    raw: Mapping[str, Any],
    read: Collection[str],
    neutral: Mapping[str, tuple[Any, ...]],
) -> None:
    for key in sorted(raw.keys() & neutral.keys() - set(read)):
        if not is_neutral(raw[key], neutral[key]):
            what = f"{key} = {str(raw[key])[:80]}"
            raise CheckpointError(f"{checkpoint.path.name}: config: {what} is not supported")


def _log_unread(checkpoint: Checkpoint, keys: Collection[str]) -> None:
    if keys:
        _log_once(checkpoint.path.name, tuple(sorted(keys)))


@cache
def _log_once(checkpoint: str, keys: tuple[str, ...]) -> None:
    log.info("config_keys_unread", checkpoint=checkpoint, keys=keys)
