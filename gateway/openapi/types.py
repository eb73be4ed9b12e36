"""A JSON schema in a few words of HTML, with links to the schemas that it names."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import msgspec

Node = Mapping[str, Any]

_RANGES = (
    ("minimum", "maximum", "{}"),
    ("minLength", "maxLength", "{} characters"),
    ("minItems", "maxItems", "{} of them"),
    ("minProperties", "maxProperties", "{} of them"),
)
_OTHERS = {
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "pattern": "like {}",
}


def words_of(schema: Node) -> str:
    """What a value may be, such as `array of Message (at least 1 of them)`."""
    limits = ", ".join(_limits(schema))
    return f"{_kind(schema)} <small>({limits})</small>" if limits else _kind(schema)


def _limits(schema: Node) -> Iterator[str]:
    for least, most, words in _RANGES:
        match schema.get(least), schema.get(most):
            case None, None:
                continue
            case None, high:
                yield words.format(f"at most {high}")
            case low, None:
                yield words.format(f"at least {low}")
            case low, high:
                yield words.format(f"{low} to {high}")
    for name, words in _OTHERS.items():
        if name in schema:
            yield words.format(f"<code>{escape(str(schema[name]))}</code>")
    if schema.get("default") is not None:
        yield f"by default {_literal(schema['default'])}"


def _kind(schema: Node) -> str:
    match schema:
        case {"$ref": ref}:
            name = escape(ref.rpartition("/")[2])
            words = f'<a href="#{name}">{name}</a>'
        case {"anyOf": choices}:
            words = " or ".join(map(words_of, choices))
        case {"const": value}:
            words = _literal(value)
        case {"enum": values}:
            words = " or ".join(map(_literal, values))
        case {"type": "string", "contentSchema": content}:
            words = words_of(content)
        case {"type": "array"}:
            words = f"array of {words_of(schema.get('items', {}))}"
        case {"type": "object"}:
            words = _object(schema)
        case _:
            words = str(schema.get("type", "anything"))
    return words


def _object(schema: Node) -> str:
    if properties := schema.get("properties"):
        return "; ".join(_members(properties))
    values = schema.get("additionalProperties")
    return f"object of {words_of(values)}" if isinstance(values, dict) and values else "object"


def _members(properties: Node) -> Iterator[str]:
    for name, schema in properties.items():
        yield f"<code>{escape(name)}</code>: {words_of(schema)}"


def _literal(value: object) -> str:
    return f"<code>{escape(msgspec.json.encode(value).decode())}</code>"
