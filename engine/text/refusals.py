"""Where in a schema it is that no grammar can be made of it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

MAX_TRIES = 256
"""Parts of one schema that are compiled to find the one that is wrong."""

_NAMED = ("properties", "patternProperties")
_SINGLE = ("items", "additionalItems", "additionalProperties")
_LISTED = ("prefixItems", "items", "allOf", "anyOf", "oneOf")
_DEFINED = ("$defs", "definitions")

Part = tuple[str, dict[str, Any]]


def refusal(schema: dict[str, Any], found: str, reason_of: Callable[[str], str]) -> str:
    """The reason why a schema is refused, of its smallest part that is, and that part's place.

    found: the reason of the whole. reason_of: why a schema as text cannot be compiled; empty for one
    that can.
    """
    kept = {key: schema[key] for key in (*_DEFINED, "x-guidance") if key in schema}
    tries = iter(range(MAX_TRIES))

    def reason(part: dict[str, Any]) -> str:
        return reason_of(json.dumps({**kept, **part})) if next(tries, None) is not None else ""

    place, part = "#", schema
    while inner := next(_refused(part, reason), None):
        (step, part), found = inner
        place += step
    return f"{found} (at {place})"


def _refused(
    schema: dict[str, Any], reason: Callable[[dict[str, Any]], str]
) -> Iterator[tuple[Part, str]]:
    return ((part, found) for part in _parts(schema) if (found := reason(part[1])))


def _parts(schema: dict[str, Any]) -> Iterator[Part]:
    """The schemas within one; those that references lead to come last."""
    for key in _NAMED:
        yield from _named(schema, key)
    for key in _SINGLE:
        if isinstance(inner := schema.get(key), dict):
            yield f"/{key}", inner
    for key in _LISTED:
        inner = schema.get(key)
        for place, each in enumerate(inner if isinstance(inner, list) else ()):
            if isinstance(each, dict):
                yield f"/{key}/{place}", each
    for key in _DEFINED:
        yield from _named(schema, key)


def _named(schema: dict[str, Any], key: str) -> Iterator[Part]:
    found = schema.get(key)
    for name, inner in found.items() if isinstance(found, dict) else ():
        if isinstance(inner, dict):
            yield f"/{key}/{name.replace('~', '~0').replace('/', '~1')}", inner
