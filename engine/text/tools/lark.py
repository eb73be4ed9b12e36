"""Grammars for llguidance, written rule by rule.

Syntax: llguidance's docs/syntax.md. Special tokens are written `<[id]>`, since no bytes spell them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.text.closing import closed

HEADER = '%llguidance {"no_forcing": true}'
"""Without it llguidance would spell what is certain itself, and needs the model's tokenizer for that."""

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
_GUIDANCE = {
    "lenient": True,
    "coerce_one_of": True,
    # where any white space was allowed, small models would write it for ever
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
ANY_TEXT = r"/(.|\n)*/"


@dataclass(frozen=True, slots=True)
class Tool:
    """schema: JSON Schema of the arguments, an object's. is_strict: they always follow it."""

    name: str
    schema: Mapping[str, Any]
    is_strict: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """What must be written: one call of these tools, or more."""

    tools: tuple[Tool, ...]
    is_parallel: bool = True


class Lark:
    """Rules collected for one grammar. token_id: the id of a special token by its text.

    lead: a marker that any text may come before.
    """

    def __init__(self, token_id: Callable[[str], int | None], lead: str = "") -> None:
        self._token_id = token_id
        self._lead = lead
        self._rules: list[str] = []
        self._shared: dict[str, str] = {}

    def rule(self, stem: str, body: str) -> str:
        """A new rule's name."""
        name = f"{stem}_{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name

    def shared(self, key: str, make: Callable[[], str]) -> str:
        """The name of the one rule of this key; its body may hold the rule itself."""
        name = self._shared.get(key)
        if name is None:
            place = len(self._rules)
            name = self._shared[key] = f"shared_{place}"
            self._rules.append("")
            self._rules[place] = f"{name}: {make()}"
        return name

    def terminal(self, stem: str, body: str) -> str:
        """A new terminal's name: one lexeme, matched as a regular expression."""
        return self.rule(stem.upper(), body)

    def mark(self, text: str) -> str:
        """A marker: a special token where the vocabulary has it, else its characters."""
        if text and text == self._lead:
            return self.until(text)
        return self._mark(text)

    def _mark(self, text: str) -> str:
        token_id = self._token_id(text)
        return self.text(text) if token_id is None else f"<[{token_id}]>"

    @staticmethod
    def text(text: str) -> str:
        return json.dumps(text, ensure_ascii=False) if text else '""'

    def json(self, schema: Mapping[str, Any]) -> str:
        """JSON that follows a schema, as far as llguidance knows its keywords."""
        own = schema.get("x-guidance")
        guidance = {**_GUIDANCE, **(own if isinstance(own, dict) else {})}
        guided = {**closed(schema), "x-guidance": guidance}
        return self.rule("json", f"%json {json.dumps(guided, ensure_ascii=False)}")

    def listed(self, pairs: Sequence[tuple[bool, str]], separator: str = ", ") -> str:
        """Rules in their order with separators between. Each is (is required, rule)."""
        first = rest = self.rule("none", '""')
        for is_required, body in reversed(pairs):
            one = self.rule("one", body)
            skipped_first, skipped_rest = ("", "") if is_required else (f" | {first}", f" | {rest}")
            first = self.rule("first", f"{one} {rest}{skipped_first}")
            rest = self.rule("rest", f"{self.text(separator)} {one} {rest}{skipped_rest}")
        return first

    def until(self, marker: str, text: str = ANY_TEXT) -> str:
        """A text and then the marker, which the text does not hold. text: its regular expression."""
        if self._token_id(marker) is not None:
            return f"{self.terminal('text', text)} {self._mark(marker)}"
        found = json.dumps(marker, ensure_ascii=False)
        return self.terminal("text", f"(({text}) {found}) & ~({ANY_TEXT} {found} /(.|\\n)+/)")

    def without(self, marker: str) -> str:
        """Any text that does not hold the marker."""
        if self._token_id(marker) is not None:
            return self.terminal("text", ANY_TEXT)
        found = json.dumps(marker, ensure_ascii=False)
        return self.terminal("text", f"{ANY_TEXT} & ~({ANY_TEXT} {found} {ANY_TEXT})")

    def text_of(self, start: str) -> str:
        return "\n".join([HEADER, f"start: {start}", *self._rules]) + "\n"
