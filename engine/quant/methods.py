"""Which ways of quantising safetensors are understood, by what config.json says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.quant.scaled import SCALE_BLOCK


@dataclass(frozen=True, slots=True)
class Method:
    """called: what people call its result. key: says more about it, and must be one of `known`."""

    called: str
    key: str = ""
    known: tuple[Any, ...] = ()


METHODS: Mapping[str, Method] = {
    "fp8": Method("FP8", "weight_block_size", (None, [SCALE_BLOCK, SCALE_BLOCK])),
    "fbgemm_fp8": Method("FP8"),
    "compressed-tensors": Method("FP8", "format", ("float-quantized",)),
    "modelopt": Method("FP8", "quant_algo", ("FP8",)),
    "mxfp4": Method("MXFP4"),
}
"""By quant_method."""


def why_refused(config: Mapping[str, Any]) -> str | None:
    """What of a config.json's quantization_config is not supported; None where all is."""
    described = _described(config)
    if not described:
        return None
    name = described.get("quant_method")
    method = METHODS.get(str(name))
    if method is None:
        return f"quant_method {name!r} is not supported: {', '.join(METHODS)} are"
    if method.key and described.get(method.key) not in method.known:
        known = " or ".join(map(str, method.known))
        return f"quant_method {name!r} with {method.key} {described.get(method.key)!r}, not {known}"
    return None


def called(config: Mapping[str, Any]) -> str | None:
    """What people call a checkpoint so quantised; None for one that is not."""
    method = METHODS.get(str(_described(config).get("quant_method")))
    return method.called if method else None


def _described(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    places = (config, inner) if isinstance(inner, Mapping) else (config,)
    found = (place.get("quantization_config") for place in places)
    return next((each for each in found if isinstance(each, Mapping) and each), {})
