"""Gemma's calls: `call:name{key:value}`, with strings in marks of their own."""

import json
from dataclasses import dataclass

from engine.text.tools import schema as schemas
from engine.text.tools.arguments import Arguments
from engine.text.tools.gemma_values import GemmaValues
from engine.text.tools.json_text import MAX_DEPTH, quoted
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import NotACallError, Parse, Reader

_WORD_ENDS = frozenset(",}]:{[ \t\r\n")


@dataclass(frozen=True, slots=True)
class GemmaCalls:
    """`opening` call:name{key:value,...} `closing`, repeated; `quote` stands round strings."""

    opening: str
    closing: str
    quote: str

    def parse(self, reader: Reader) -> Parse[None]:
        while (yield from reader.scan(reader.say, self.opening)) is not None:
            yield from reader.attempt(self._call(reader), self.opening)

    def _call(self, reader: Reader) -> Parse[None]:
        yield from reader.space()
        yield from reader.expect("call:")
        name = (yield from reader.until("{")).strip()
        if not name or any(char.isspace() for char in name):
            raise NotACallError
        reader.call(name)
        arguments = Arguments(reader, reader.schema(name))
        with reader.held():
            yield from reader.space()
            is_closed = yield from reader.accept("}")
        while not is_closed:
            with reader.held():
                key, value, end = yield from self._member(reader, 0)
            arguments.add(key, value)
            is_closed = end == "}"
        arguments.close()
        reader.keep()
        yield from reader.space()
        yield from reader.accept(self.closing)

    def _member(self, reader: Reader, depth: int) -> Parse[tuple[str, str, str]]:
        """A key, its value as JSON, and the `,` or `}` after it."""
        yield from reader.space()
        key = (yield from self._text(reader)) or (yield from reader.until(":")).strip()
        if (yield from reader.peek()) == ":":
            yield from reader.expect(":")
        value = yield from self._value(reader, depth)
        yield from reader.space()
        return key, value, (yield from reader.expect(",", "}"))

    def _text(self, reader: Reader) -> Parse[str | None]:
        """A string, if one comes next."""
        for quote in (self.quote, '"'):
            if (yield from reader.accept(quote)):
                return (yield from reader.until(quote))
        return None

    def _value(self, reader: Reader, depth: int) -> Parse[str]:
        if depth > MAX_DEPTH:
            raise NotACallError
        yield from reader.space()
        text = yield from self._text(reader)
        if text is not None:
            return f'"{quoted(text)}"'
        if (yield from reader.accept("{")):
            return (yield from self._object(reader, depth))
        if (yield from reader.accept("[")):
            return (yield from self._array(reader, depth))
        word = yield from reader.run(lambda char: char not in _WORD_ENDS)
        if not word:
            raise NotACallError
        return schemas.as_json(word, {})

    def _object(self, reader: Reader, depth: int) -> Parse[str]:
        yield from reader.space()
        members: list[str] = []
        end = "}" if (yield from reader.accept("}")) else ","
        while end == ",":
            key, value, end = yield from self._member(reader, depth + 1)
            members.append(f"{json.dumps(key, ensure_ascii=False)}: {value}")
        return f"{{{', '.join(members)}}}"

    def _array(self, reader: Reader, depth: int) -> Parse[str]:
        yield from reader.space()
        items: list[str] = []
        end = "]" if (yield from reader.accept("]")) else ","
        while end == ",":
            items.append((yield from self._value(reader, depth + 1)))
            yield from reader.space()
            end = yield from reader.expect(",", "]")
        return f"[{', '.join(items)}]"

    def grammar(self, lark: Lark, calls: Calls) -> str:
        values = GemmaValues(lark, self.quote)
        one = lark.rule("call", " | ".join(self._rule(lark, values, t) for t in calls.tools))
        return f"{one} ({one})*" if calls.is_parallel else one

    def _rule(self, lark: Lark, values: GemmaValues, tool: Tool) -> str:
        parts = [lark.mark(self.opening), lark.text(f"call:{tool.name}{{")]
        parts += [values.members(tool.schema), '"}"', lark.mark(self.closing)]
        return lark.rule("function", " ".join(parts))
