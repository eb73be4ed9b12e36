"""Which ways of quantising safetensors are understood, by what config.json says of itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.quant import schemes
from engine.quant.scaled import SCALE_BLOCK
from engine.quant.schemes import Scheme, UnknownScheme


@dataclass(frozen=True, slots=True)
class Method:
    """called: what people call its result. accepts: for documents, what of it is understood.

    key: says more about it, and must be one of `known`. scheme: reads the rest of what is said
    where weights may be integers.
    """

    called: str
    accepts: str
    key: str = ""
    known: tuple[Any, ...] = ()
    scheme: Callable[[Mapping[str, Any]], Scheme | None] = lambda _: None


METHODS: Mapping[str, Method] = {
    "fp8": Method(
        "FP8",
        "e4m3 with a scale for each block of 128 x 128, row or tensor",
        "weight_block_size",
        (None, [SCALE_BLOCK, SCALE_BLOCK]),
    ),
    "fbgemm_fp8": Method("FP8", "e4m3 with a scale for each row"),
    "compressed-tensors": Method(
        "FP8",
        "float-quantized; pack-quantized of 4 or 8 bits and int-quantized, by group, row or tensor",
        scheme=schemes.compressed_tensors,
    ),
    "modelopt": Method("FP8", "FP8", "quant_algo", ("FP8",)),
    "mxfp4": Method("MXFP4", "experts of gpt-oss"),
    "gptq": Method("GPTQ", "4 or 8 bits, gptq and gptq_v2", scheme=schemes.gptq),
    "awq": Method("AWQ", "4 bits, gemm", scheme=schemes.awq),
    "bitsandbytes": Method("BNB", "8 bits", scheme=schemes.bitsandbytes),
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
    try:
        method.scheme(described)
    except UnknownScheme as error:
        return f"quant_method {name!r} with {error}"
    return None


def integer_scheme(config: Mapping[str, Any]) -> Scheme | None:
    """How integers are stored, None where no weights are; of a config that is not refused."""
    described = _described(config)
    method = METHODS.get(str(described.get("quant_method")))
    return method.scheme(described) if method else None


def called(config: Mapping[str, Any]) -> str | None:
    """What people call a checkpoint so quantised; None for one that is not."""
    method = METHODS.get(str(_described(config).get("quant_method")))
    if method is None or why_refused(config):
        return method.called if method else None
    scheme = integer_scheme(config)
    if scheme is None:
        return method.called
    plain = scheme.layout in ("packed", "plain")
    return f"INT{scheme.bits}" if plain else f"{method.called}-INT{scheme.bits}"


def _described(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    places = (config, inner) if isinstance(inner, Mapping) else (config,)
    found = (place.get("quantization_config") for place in places)
    return next((each for each in found if isinstance(each, Mapping) and each), {})
