"""Settings from the environment: `ROUNDHOUSE_PORT`, `ROUNDHOUSE_LIMITS__BODY_BYTES`."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.config.errors import SettingsError
from gateway.config.fields import Place, hints_of, table_in
from gateway.config.kinds import convert
from gateway.config.settings import Settings

PREFIX = "ROUNDHOUSE_"

OTHERS = frozenset(
    PREFIX + name for name in ("API_KEY", "CACHE", "CLIENTS", "DEMO_MODELS", "ISA", "NATIVE", "URL")
)
"""Variables that are no settings: other parts of Roundhouse, its clients and its tests read them."""

# What Kubernetes and Docker's links put there for a service called roundhouse, or roundhouse-x.
_LINK_NAME = re.compile(
    r"ROUNDHOUSE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://.+:\d+")


def settings_in(environ: Mapping[str, str]) -> dict[Place, Any]:
    """What each variable sets, as a file would say it. An empty one sets nothing.

    Tables within tables are named with two underscores; lists, and tables by name, are one JSON or
    TOML value. Raises `SettingsError` for a variable that names no setting, or has a wrong value.
    """
    return {
        place: _value(name, text, _hint(name, place))
        for name, text in sorted(environ.items())
        if text and _is_ours(name, text)
        for place in [_place(name)]
    }


def variable_of(place: Place) -> str:
    return PREFIX + "__".join(place).upper()


def _is_ours(name: str, text: str) -> bool:
    if not name.startswith(PREFIX) or name in OTHERS or _LINK_NAME.fullmatch(name):
        return False
    return not (name.endswith("_PORT") and _LINK_VALUE.fullmatch(text))


def _place(name: str) -> Place:
    return tuple(name.removeprefix(PREFIX).lower().split("__"))


def _hint(name: str, place: Place) -> Any:
    """The type of the setting at `place`."""
    hint: Any = Settings
    for depth, field in enumerate(place):
        table = table_in(hint)
        if table is None:
            whole = variable_of(place[:depth])
            raise SettingsError(f"{name}: set {whole} as a whole, to a JSON or TOML value")
        if field not in hints_of(table):
            where = f" in [{'.'.join(place[:depth])}]" if depth else ""
            raise SettingsError(f"{name}: there is no setting {field!r}{where}")
        hint = hints_of(table)[field]
    return hint


def _value(name: str, text: str, hint: Any) -> Any:
    """The first reading of the text that the setting's type takes: as it is, as JSON, as TOML."""
    reason = ""
    for value in _readings(text):
        try:
            msgspec.convert(value, hint, dec_hook=convert)
        except msgspec.ValidationError as error:
            reason = str(error)
        else:
            return value
    raise SettingsError(f"{name}: {reason}")


def _readings(text: str) -> Iterator[Any]:
    yield text
    try:
        yield msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    else:
        return
    try:
        yield tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return
