"""Reads settings: defaults, a file, the environment and the command line, each over those before."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.config.environment import settings_in
from gateway.config.errors import SettingsError
from gateway.config.fields import Place, entry_in, hints_of
from gateway.config.kinds import convert
from gateway.config.settings import Settings

DEFAULT_FILE = Path("roundhouse.toml")
MAX_FILE_BYTES = 10 * 2**20

Origin = Literal["default", "file", "environment", "command line"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each comes from. path: the file that was read, if any."""

    settings: Settings
    path: Path | None
    in_file: dict[str, Any]
    in_environment: dict[Place, Any]
    in_command: dict[str, Any]

    def origin(self, place: Place) -> Origin:
        """Who said what the setting is, or anything that is in it."""
        if place[0] in self.in_command:
            return "command line"
        if any(place[: len(named)] == named for named in self.in_environment):
            return "environment"
        return "file" if _holds(self.in_file, place) else "default"


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings that `load` finds. Raises `SettingsError`."""
    return load(path, overrides, environ).settings


def load(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """Reads `path`, or `roundhouse.toml` if there is one here, and lays the others over it.

    overrides: what the command line says; None leaves a setting as it is. Raises `SettingsError`,
    which names the file, the variable or the setting.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    in_file = _read(path) if path else {}
    in_environment = settings_in(environ)
    in_command = {name: value for name, value in (overrides or {}).items() if value is not None}
    values = _laid_over(in_file, in_environment) | in_command
    try:
        settings = msgspec.convert(values, Settings, dec_hook=convert)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path or 'settings'}: {_named(values, error)}") from None
    return Loaded(settings, path, in_file, in_environment, in_command)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1).decode()
        if len(text) > MAX_FILE_BYTES:
            raise SettingsError(f"{path}: more than {MAX_FILE_BYTES} bytes")
        if path.suffix != ".json":
            return tomllib.loads(text)
        values = msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.DecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    values.pop("$schema", None)  # for editors; TOML names it in a comment
    return values


def _laid_over(values: Mapping[str, Any], others: Mapping[Place, Any]) -> dict[str, Any]:
    """A copy with these at their places; what should be a table and is none is left as it is."""
    made = dict(values)
    for place, value in others.items():
        table = made
        for name in place[:-1]:
            inner = table.get(name, {})
            if not isinstance(inner, dict):
                break
            table[name] = table = dict(inner)
        else:
            table[place[-1]] = value
    return made


def _holds(values: Any, place: Place) -> bool:
    for name in place:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def _named(values: dict[str, Any], error: msgspec.ValidationError) -> str:
    """The error's message; msgspec says only `[...]` for the key of a table."""
    if "[...]" in str(error):
        for table, hint in hints_of(Settings).items():
            kind, entries = entry_in(hint), values.get(table)
            for name, entry in entries.items() if kind and isinstance(entries, dict) else ():
                try:
                    msgspec.convert(entry, kind, dec_hook=convert)
                except msgspec.ValidationError as found:
                    return f"[{table}.{name!r}]: {found}"
    return str(error)
