"""What a tool's schema says of one argument, for formats that write values without quotes."""

import json
from collections.abc import Mapping
from typing import Any


def argument(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The schema of one argument; empty if there is none."""
    properties = schema.get("properties")
    found = properties.get(name) if isinstance(properties, dict) else None
    return found if isinstance(found, dict) else {}


def is_text(schema: Mapping[str, Any]) -> bool:
    """Whether the value can be a string and nothing else."""
    return types(schema) == {"string"}


def types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Names of the JSON types that the schema allows; empty where it does not say."""
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset({declared})
    if isinstance(declared, list):
        return frozenset(kind for kind in declared if isinstance(kind, str))
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(c, str) for c in choices):
        return frozenset({"string"})
    branches = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(branches, list):
        return frozenset().union(*(types(b) for b in branches if isinstance(b, dict)))
    return frozenset()


def as_json(raw: str, schema: Mapping[str, Any]) -> str:
    """A bare value as JSON text: what it says if it is JSON of an allowed type, else a string."""
    allowed = types(schema)
    if allowed != {"string"}:
        try:
            value = json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            value = _python_constant(raw.strip(), raw)
        if not isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
    return json.dumps(raw, ensure_ascii=False)


def _python_constant(word: str, otherwise: str) -> bool | str | None:
    # models trained on Python's repr write its constants
    return {"True": True, "False": False, "None": None}.get(word, otherwise)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no JSON
