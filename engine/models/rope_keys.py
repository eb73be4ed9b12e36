"""Rope settings from the places where files have had them over the years."""

from collections.abc import Mapping
from typing import Any


def hf_rope(raw: Mapping[str, Any], thetas: Mapping[str, float]) -> dict[str, Any]:
    """`rope_parameters` by layer type, from a config.json of any age.

    Old: rope_theta and rope_scaling (with `type` or `rope_type`), rope_local_base_freq for sliding
    layers. New: rope_parameters, flat or by layer type. thetas: the family's bases by layer type.
    Raises ValueError where one of these is no object; values are checked when they are converted.
    """
    given = _object(raw, "rope_parameters")
    if any(isinstance(value, Mapping) for value in given.values()):
        return {kind: _rope(_object(given, kind), theta) for kind, theta in thetas.items()}
    scaling = given or _object(raw, "rope_scaling")
    bases = {
        "full_attention": raw.get("rope_theta"),
        "sliding_attention": raw.get("rope_local_base_freq"),
    }
    return _by_layer_type(scaling, bases, thetas)


def gguf_rope(values: Mapping[str, Any], thetas: Mapping[str, float]) -> dict[str, Any]:
    """The same from GGUF's keys, given without the architecture's prefix.

    The type "none" says default. llama3 ropes have no type: their frequencies come as a tensor.
    """
    scaling = {
        "rope_type": values.get("rope.scaling.type", "none"),
        "factor": values.get("rope.scaling.factor"),
        "original_max_position_embeddings": values.get("rope.scaling.original_context_length"),
        "beta_fast": values.get("rope.scaling.yarn_beta_fast"),
        "beta_slow": values.get("rope.scaling.yarn_beta_slow"),
    }
    if "rope.scale_linear" in values and "rope.scaling.type" not in values:
        scaling |= {"rope_type": "linear", "factor": values["rope.scale_linear"]}
    bases = {
        "full_attention": values.get("rope.freq_base"),
        "sliding_attention": values.get("rope.freq_base_swa"),
    }
    return _by_layer_type(scaling, bases, thetas)


def _by_layer_type(
    scaling: Mapping[str, Any], bases: Mapping[str, Any], thetas: Mapping[str, float]
) -> dict[str, Any]:
    """Scaling is of the full layers; sliding ones, where they differ, are plain."""
    ropes = {}
    for kind, theta in thetas.items():
        given = scaling if kind == "full_attention" else {}
        base = bases.get(kind)
        ropes[kind] = _rope(given, theta if base is None else base)
    return ropes


def _object(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {str(value)[:80]}, not an object")  # noqa: TRY004  # a bad value, not a bug
    return value


def _rope(given: Mapping[str, Any], theta: float) -> dict[str, Any]:
    rope = {key: value for key, value in given.items() if value is not None}
    kind = rope.pop("type", "default")
    rope.setdefault("rope_type", kind)
    if rope["rope_type"] == "none":
        rope["rope_type"] = "default"
    if rope.get("partial_rotary_factor") == 1:
        del rope["partial_rotary_factor"]
    return {"rope_theta": theta} | rope
