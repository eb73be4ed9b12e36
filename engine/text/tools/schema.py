"""What a tool's schema says of one argument, for formats that write values in their own way."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_OF_ALL_PARTS = ("$defs", "definitions", "x-guidance")
_ANY_OF = ("anyOf", "oneOf")
MAX_REFERENCES = 16
"""In a row, or of branches within branches: more go round in a circle."""


def properties(schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """The name and schema of each property, and whether it is required."""
    found, required = schema.get("properties"), schema.get("required")
    required = required if isinstance(required, list) else []
    for name in found if isinstance(found, dict) else ():
        yield name, argument(schema, name), name in required


def argument(schema: Schema, name: str) -> Schema:
    """The schema of one property, able to stand by itself; empty if there is none."""
    found = schema.get("properties")
    return within(schema, found.get(name) if isinstance(found, dict) else None)


def within(whole: Schema, part: object) -> Schema:
    """A part of a schema that can stand by itself: with the whole's definitions, and no reference."""
    found: Schema = part if isinstance(part, dict) else {}
    for _ in range(MAX_REFERENCES):
        target = _target(whole, found.get("$ref"))
        if target is None:
            break
        found = {**target, **{key: value for key, value in found.items() if key != "$ref"}}
    return {**{key: whole[key] for key in _OF_ALL_PARTS if key in whole}, **found}


def branches(schema: Schema, depth: int = 0) -> list[Schema]:
    """The schemas of which one is to hold; itself where it has no branches."""
    found = next((schema[key] for key in _ANY_OF if isinstance(schema.get(key), list)), None)
    if not found or depth == MAX_REFERENCES:
        return [schema]
    each = [within(schema, branch) for branch in found]
    return [inner for branch in each for inner in branches(branch, depth + 1)]


def choices(schema: Schema) -> Sequence[Any] | None:
    """The values that there are, if the schema lists them."""
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    return listed if isinstance(listed, list) and listed else None


def is_text(schema: Schema) -> bool:
    """Whether the value can be a string and nothing else."""
    return types(schema) == {"string"}


def types(schema: Schema) -> frozenset[str]:
    """Names of the JSON types that the schema allows; empty where it does not say."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset({declared})
    if isinstance(declared, list):
        return frozenset(kind for kind in declared if isinstance(kind, str))
    if (listed := choices(schema)) is not None:
        return frozenset(map(_type_of, listed))
    each = branches(schema)
    if each == [schema]:
        return frozenset()
    found = [types(branch) for branch in each if not _has_branches(branch)]
    # a branch that may be anything leaves nothing said
    return frozenset().union(*found) if all(found) else frozenset()


def as_json(raw: str, schema: Schema) -> str:
    """A bare value as JSON text: what it says if it is JSON of an allowed type, else a string."""
    value: Any = raw
    if not is_text(schema):
        try:
            value = json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            value = _python_constant(raw.strip(), raw)
    return json.dumps(value, ensure_ascii=False)


def _target(whole: Schema, reference: object) -> Schema | None:
    """What a reference within the document points to."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found: Any = whole
    for name in reference[2:].split("/"):
        found = (
            found.get(name.replace("~1", "/").replace("~0", "~"))
            if isinstance(found, dict)
            else None
        )
    return found if isinstance(found, dict) else None


def _has_branches(schema: Schema) -> bool:
    return any(isinstance(schema.get(key), list) for key in _ANY_OF)


def _type_of(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


def _python_constant(word: str, otherwise: str) -> bool | str | None:
    # models trained on Python's repr write its constants
    return {"True": True, "False": False, "None": None}.get(word, otherwise)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no JSON
