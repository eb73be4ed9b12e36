"""Rope settings from the places where files have had them over the years."""

from collections.abc import Mapping
from typing import Any

Thetas = Mapping[str, float | None]
"""A family's rope bases by layer type; None for that of the full layers.

None for the full layers themselves: without a base in the file they have no rope.
"""


def hf_rope(raw: Mapping[str, Any], thetas: Thetas) -> dict[str, Any]:
    """`rope_parameters` by layer type, from a config.json of any age.

    Old: rope_theta and rope_scaling (with `type` or `rope_type`), rope_local_base_freq for sliding
    layers. New: rope_parameters, flat or by layer type. thetas: what holds where no base is given.
    Raises ValueError where one of these is no object; values are checked when they are converted.
    """
    given = _object(raw, "rope_parameters")
    bases = {
        "full_attention": raw.get("rope_theta"),
        "sliding_attention": raw.get("rope_local_base_freq"),
    }
    if any(isinstance(value, Mapping) for value in given.values()):
        return _by_layer_type({kind: _object(given, kind) for kind in thetas}, bases, thetas)
    scaling = _longrope(given or _object(raw, "rope_scaling"), raw)
    return _by_layer_type(_of_full_layers(scaling, _hf_partial(raw)), bases, thetas)


def gguf_rope(values: Mapping[str, Any], thetas: Thetas) -> dict[str, Any]:
    """The same from GGUF's keys, given without the architecture's prefix.

    The type "none" says default. llama3 ropes have no type: their frequencies come as a tensor.
    """
    scaling = {
        "rope_type": values.get("rope.scaling.type", "none"),
        "factor": values.get("rope.scaling.factor"),
        "original_max_position_embeddings": values.get("rope.scaling.original_context_length"),
        "beta_fast": values.get("rope.scaling.yarn_beta_fast"),
        "beta_slow": values.get("rope.scaling.yarn_beta_slow"),
        "attention_factor": values.get("rope.scaling.yarn_attn_factor"),
    }
    if "rope.scale_linear" in values and "rope.scaling.type" not in values:
        scaling |= {"rope_type": "linear", "factor": values["rope.scale_linear"]}
    bases = {
        "full_attention": values.get("rope.freq_base"),
        "sliding_attention": values.get("rope.freq_base_swa"),
    }
    return _by_layer_type(_of_full_layers(scaling, _gguf_partial(values)), bases, thetas)


def _of_full_layers(scaling: Mapping[str, Any], partial: Any) -> dict[str, Mapping[str, Any]]:
    """Scaling that names no layer type is of the full layers; sliding ones are plain."""
    part = {"partial_rotary_factor": scaling.get("partial_rotary_factor", partial)}
    return {"full_attention": {**scaling, **part}, "sliding_attention": part}


def _by_layer_type(
    scalings: Mapping[str, Mapping[str, Any]], bases: Mapping[str, Any], thetas: Thetas
) -> dict[str, Any]:
    ropes: dict[str, Any] = {}
    for kind, theta in thetas.items():
        of_full = ropes.get("full_attention", {}).get("rope_theta")
        base = next((b for b in (bases.get(kind), theta, of_full) if b is not None), None)
        scaling = scalings.get(kind, {})
        if base is not None or scaling.get("rope_theta") is not None:
            ropes[kind] = _rope(scaling, base)
    return ropes


def _hf_partial(raw: Mapping[str, Any]) -> Any:
    """How much of each head is turned, from the keys that say so; None for all of it."""
    counted = _ratio(raw.get("rotary_dim"), raw.get("head_dim"))
    return counted or raw.get("partial_rotary_factor", raw.get("rotary_pct"))


def _gguf_partial(values: Mapping[str, Any]) -> Any:
    sizes = values.get("embedding_length"), values.get("attention.head_count")
    head_dim = values.get("attention.key_length") or _ratio(*sizes)
    return _ratio(values.get("rope.dimension_count"), head_dim)


def _ratio(part: Any, whole: Any) -> float | None:
    """None where one is missing; senseless sizes are refused where they are read themselves."""
    are_numbers = isinstance(part, int | float) and isinstance(whole, int | float)
    return part / whole if are_numbers and whole > 0 else None


def _longrope(scaling: Mapping[str, Any], raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Phi-3's way to stretch, whose type was su or yarn once; half of it stands outside."""
    if "short_factor" not in scaling:
        return scaling
    original = {"original_max_position_embeddings": raw.get("original_max_position_embeddings")}
    kept = {key: value for key, value in scaling.items() if key != "type"}
    return original | kept | {"rope_type": "longrope"}


def _object(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} is {str(value)[:80]}, not an object")  # noqa: TRY004  # a bad value, not a bug
    return value


def _rope(given: Mapping[str, Any], theta: float | None) -> dict[str, Any]:
    rope = {key: value for key, value in given.items() if value is not None}
    kind = rope.pop("type", "default")
    rope.setdefault("rope_type", kind)
    rope.pop("max_position_embeddings", None)  # Mistral 4 says it again here
    for key in ("mrope_section", "mrope_interleaved"):
        rope.pop(key, None)  # of images; the three positions of a text's token are one
    if rope["rope_type"] == "none":
        rope["rope_type"] = "default"
    if rope.get("partial_rotary_factor") == 1:
        del rope["partial_rotary_factor"]
    return {"rope_theta": theta} | rope
