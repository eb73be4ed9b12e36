"""Reads settings: a file, TOML or JSON by its name, and what is laid over it."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.errors import SettingsError
from gateway.config.models import ModelSettings, Preset
from gateway.config.settings import Settings
from gateway.units import Bytes, DeviceBudget, Duration, parse_bytes, parse_device, parse_duration

DEFAULT_FILE = Path("roundhouse.toml")


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads `path`, or `roundhouse.toml` if there is one here, and lays `overrides` over it.

    An override that is None leaves the file's value. Raises `SettingsError`.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    values = _read(path) if path else {}
    values |= {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return msgspec.convert(values, Settings, dec_hook=_convert)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path or 'settings'}: {_named(values, error)}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
        if path.suffix != ".json":
            return tomllib.loads(text)
        return msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


_TABLES: dict[str, type[Struct]] = {"model": ModelSettings, "presets": Preset}


def _named(values: dict[str, Any], error: msgspec.ValidationError) -> str:
    """The error's message; msgspec says only `[...]` for the key of a table."""
    if "[...]" in str(error):
        for table, kind in _TABLES.items():
            entries = values.get(table)
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                try:
                    msgspec.convert(entry, kind, dec_hook=_convert)
                except msgspec.ValidationError as found:
                    return f"[{table}.{name!r}]: {found}"
    return str(error)


_READERS: dict[type, Callable[[str], object]] = {
    Bytes: parse_bytes,
    Duration: parse_duration,
    DeviceBudget: parse_device,
}


def _convert(target: type, value: object) -> object:
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
