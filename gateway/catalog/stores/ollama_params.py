"""What an Ollama model says of itself beside its weights, as a preset says it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.config import Preset

_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Ollama's parameters in our words. Others, such as num_ctx, are the server's to settle."""


def read_preset(model: str, params: Iterable[str], system: str) -> Preset:
    """params: JSON texts, later ones over earlier ones. What no preset may say is left out."""
    values: dict[str, Any] = {}
    for text in params:
        for name, value in _object(text).items():
            if name in _NAMES and _is_allowed(_NAMES[name], value):
                values[_NAMES[name]] = value
    return Preset(model=model, system=system or None, **values)


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _is_allowed(name: str, value: object) -> bool:
    try:
        msgspec.convert({"model": "", name: value}, Preset)
    except msgspec.ValidationError:
        return False
    return True
