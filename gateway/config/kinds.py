"""Kinds of values that msgspec does not know: how files write them, and what a schema says of them."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from gateway.units import Bytes, DeviceBudget, Duration, parse_bytes, parse_device, parse_duration

_SIZE = r"^\s*\d+(\.\d+)?\s*[kKmMgGtT]?[iI]?[bB]?\s*$"
_SECONDS = r"[+-]?(\d+(\.\d*)?|\.\d+)"
_DURATION = rf"^\s*({_SECONDS}|[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)\s*$"

_READERS: dict[type, Callable[[str], object]] = {
    Bytes: parse_bytes,
    Duration: parse_duration,
    DeviceBudget: parse_device,
}

_SCHEMAS: dict[type, dict[str, Any]] = {
    Bytes: {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}]},
    Duration: {"anyOf": [{"type": "number"}, {"type": "string", "pattern": _DURATION}]},
    DeviceBudget: {
        "type": "string",
        "pattern": r"^\s*(cpu:\s*\d+(\.\d+)?\s*[kKmMgGtT]?[iI]?[bB]?"
        r"|cuda(:(\d+|GPU-[0-9A-Fa-f-]+|MIG-[0-9A-Fa-f-]+))?"
        r"(:\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?[bB]?|[bB]))?)\s*$",
    },
    Path: {"type": "string"},
}


def convert(target: type, value: object) -> object:
    """The `dec_hook`. Raises `ValueError` for what is no such value."""
    if target is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if target in _READERS and isinstance(value, str):
        return _READERS[target](value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if target is Bytes and isinstance(value, int) and value >= 0:
            return Bytes(value)
        if target is Duration:
            return parse_duration(value)
    raise ValueError(f"expected {target.__name__}, got {value!r}")


def plain(value: object) -> object:
    """The `enc_hook`: a value as JSON can say it, which `convert` reads again."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Duration):
        return -1 if value == float("inf") else float(value)
    if isinstance(value, Bytes):
        return int(value)
    return str(value)


def schema(target: type) -> dict[str, Any]:
    """The `schema_hook`; whoever asks may write into it."""
    return deepcopy(_SCHEMAS[target])
