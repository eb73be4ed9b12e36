"""Objects that list their properties, held to them."""

from collections.abc import Iterator, Mapping
from typing import Any

_OF_NAMES = ("properties", "patternProperties", "$defs", "definitions")
_OF_LISTS = ("anyOf", "oneOf", "prefixItems", "items")
_SINGLE = ("items", "additionalItems", "additionalProperties")
_BESIDE = frozenset({"anyOf", "oneOf", "allOf", "$ref"})


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with `additionalProperties: false` in each object that names properties and does not say.

    The standard allows others there. Who asks for an answer by a schema wants to read what it names,
    and a small model makes up members until it is cut. Schemas whose objects take properties from
    several places stay as they are: one place would forbid those of the next.
    """
    if any("allOf" in each or _takes_from_several(each) for each in _schemas(schema)):
        return schema
    made: Mapping[str, Any] = _closed(schema)
    return made


def _takes_from_several(schema: Mapping[str, Any]) -> bool:
    return "properties" in schema and not _BESIDE.isdisjoint(schema)


def _closed(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    made = dict(schema)
    for key in _OF_NAMES:
        if isinstance(made.get(key), Mapping):
            made[key] = {name: _closed(each) for name, each in made[key].items()}
    for key in _OF_LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_closed(each) for each in made[key]]
    for key in _SINGLE:
        if isinstance(made.get(key), Mapping):
            made[key] = _closed(made[key])
    if isinstance(made.get("properties"), Mapping):
        made.setdefault("additionalProperties", False)
    return made


def _schemas(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and all that it is made of."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for key in _OF_NAMES:
        for each in (
            (schema.get(key) or {}).values() if isinstance(schema.get(key), Mapping) else ()
        ):
            yield from _schemas(each)
    for key in _OF_LISTS:
        for each in schema[key] if isinstance(schema.get(key), list) else ():
            yield from _schemas(each)
    for key in _SINGLE:
        yield from _schemas(schema.get(key))
