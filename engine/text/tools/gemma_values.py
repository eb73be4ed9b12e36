"""The rules of values as Gemma writes them: JSON, but for strings in marks and keys without any."""

import json
from dataclasses import dataclass
from typing import Any

from engine.text.tools import schema as schemas
from engine.text.tools.bare_text import bare_text
from engine.text.tools.lark import Lark
from engine.text.tools.schema import Schema

_SCALARS = frozenset({"integer", "number", "boolean", "null"})
_KEY = r"/[A-Za-z_][A-Za-z0-9_-]*/"


@dataclass(frozen=True, slots=True)
class GemmaValues:
    """quote: what stands round strings."""

    lark: Lark
    quote: str

    def members(self, schema: Schema) -> str:
        """The members of an object: those of its schema, in its order."""
        return self.lark.listed(
            [
                (is_required, f"{self.lark.text(f'{name}:')} {self._value(inner)}")
                for name, inner, is_required in schemas.properties(schema)
            ],
            ",",
        )

    def _value(self, schema: Schema) -> str:
        # schemas may go round in a circle, and so may rules
        key = json.dumps(schema, sort_keys=True)
        return self.lark.shared(
            key, lambda: " | ".join(map(self._branch, schemas.branches(schema)))
        )

    def _branch(self, schema: Schema) -> str:
        listed = schemas.choices(schema)
        if listed is not None:
            return f"({' | '.join(map(self._literal, listed))})"
        kinds = schemas.types(schema)
        if kinds and kinds <= _SCALARS:
            return self.lark.json(schema)
        each = [self._kind({**schema, "type": kind}, kind) for kind in sorted(kinds or {"string"})]
        return f"({' | '.join(each)})"

    def _kind(self, schema: Schema, kind: str) -> str:
        match kind:
            case "object" if schema.get("properties"):
                return f'"{{" {self.members(schema)} "}}"'
            case "object" if schema.get("additionalProperties") is False:
                return '"{" "}"'
            case "object":
                inner = self._value(schemas.within(schema, schema.get("additionalProperties")))
                members = self._several(f'{_KEY} ":" {inner}', 0, None)
                return f'"{{" {members} "}}"'
            case "array":
                item = self._value(schemas.within(schema, schema.get("items")))
                counts = schema.get("minItems") or 0, schema.get("maxItems")
                return f'"[" {self._several(item, *counts)} "]"'
            case "string":
                return f"{self.lark.mark(self.quote)} {bare_text(self.lark, schema, self.quote)}"
        return self.lark.json(schema)

    def _several(self, one: str, least: int, most: int | None) -> str:
        """So many of them, with commas between."""
        if most == 0:
            return '""'
        rest = f"{{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        several = one if most == 1 else f'{one} ("," {one}){rest}'
        return several if least else f"({several})?"

    def _literal(self, value: Any) -> str:
        return self.lark.rule("literal", " ".join(self._pieces(value)))

    def _pieces(self, value: Any) -> list[str]:
        """A value that is known, piece by piece."""
        text, mark = self.lark.text, self.lark.mark
        match value:
            case str():
                return [mark(self.quote), text(value), mark(self.quote)]
            case list():
                inner = [piece for item in value for piece in (text(","), *self._pieces(item))]
                return [text("["), *inner[1:], text("]")]
            case dict():
                inner = [
                    piece
                    for key, item in value.items()
                    for piece in (text(","), text(f"{key}:"), *self._pieces(item))
                ]
                return [text("{"), *inner[1:], text("}")]
        return [text(json.dumps(value))]
