"""Settings for an operator's eyes: what holds, who said so, and no secrets."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.environment import variable_of
from gateway.config.fields import Place, defaults_of
from gateway.config.kinds import plain
from gateway.config.load import Loaded, Origin

MASK = "********"

_SECRET = re.compile(r"(^|_)(key|token|secret|password|passphrase|salt)$")
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Shown(Struct, frozen=True):
    """A setting as it is in force. source: the file or the variable that says so, if one does."""

    setting: str
    value: Any
    origin: Origin
    source: str | None = None


def shown(loaded: Loaded) -> Iterator[Shown]:
    """Every setting, in the order of their declaration; of models, presets and the like what is said.

    Values that their name calls a secret are masked, as are users and passwords in addresses.
    """
    for place, value in leaves(loaded.settings):
        origin = loaded.origin(place)
        yield Shown(
            dotted(place), _masked(place[-1], value), origin, _source(loaded, place, origin)
        )


def leaves(struct: Struct, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The settings within settings, one by one, as JSON would say them."""
    for name in struct.__struct_fields__:
        yield from _leaves(getattr(struct, name), (*place, name))


def dotted(place: Place) -> str:
    """As TOML writes it: limits.body_bytes, model."org/name".pin."""
    return ".".join(name if _BARE.fullmatch(name) else f'"{name}"' for name in place)


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, Struct):
        yield from leaves(value, place)
    elif isinstance(value, dict) and value:
        for name, entry in value.items():
            given = _given(entry) if isinstance(entry, Struct) else entry
            yield from _leaves(given, (*place, name))
    elif isinstance(value, list | tuple) and any(isinstance(each, Struct) for each in value):
        for number, entry in enumerate(value):
            yield from _leaves(_given(entry), (*place, str(number)))
    else:
        yield place, msgspec.to_builtins(value, enc_hook=plain)


def _given(entry: Any) -> dict[str, Any]:
    """What is said of one of many, which have the same defaults."""
    defaults, values = defaults_of(type(entry)), msgspec.structs.asdict(entry)
    return {name: value for name, value in values.items() if value != defaults.get(name)}


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(name, each) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if _SECRET.search(name):
        return MASK
    return _USER.sub(MASK, value) if isinstance(value, str) else value


def _source(loaded: Loaded, place: Place, origin: Origin) -> str | None:
    if origin == "environment":
        named = [p for p in loaded.in_environment if place[: len(p)] == p]
        return variable_of(named[0])
    return str(loaded.path) if origin == "file" else None
