"""Calls as tags with a tag for each argument, whose value is bare."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.text.tools import schema as schemas
from engine.text.tools.arguments import Arguments
from engine.text.tools.bare_text import bare_text
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import Parse, Reader
from engine.text.tools.section import read_section


@dataclass(frozen=True, slots=True)
class XmlCalls:
    """`opening` (`call` name `>` (`parameter` key `>` value `parameter_end`)* `call_end`)+ `closing`.

    named: what stands after a name. gap: what stands round a value and is no part of it. kinds: what
    stands after a key instead, by whether the value is a string, where the format says so.
    """

    opening: str
    closing: str
    call: str
    call_end: str
    parameter: str
    parameter_end: str
    named: str = ">"
    gap: str = ""
    kinds: tuple[tuple[str, bool], ...] = ()

    def parse(self, reader: Reader) -> Parse[None]:
        # a call without its opening is a slip that models make
        while found := (yield from reader.scan(reader.say, self.opening, self.call)):
            is_in = found == self.call
            calls = read_section(reader, self._call, self.call, self.closing, is_in=is_in)
            yield from reader.attempt(calls, found)

    def _call(self, reader: Reader) -> Parse[None]:
        name = (yield from reader.until(self.named)).strip()
        reader.call(name)
        arguments = Arguments(reader, reader.schema(name))
        while True:
            with reader.held():
                yield from reader.space()
                tag = yield from reader.expect(self.parameter, self.call_end)
            if tag == self.call_end:
                arguments.close()
                return
            yield from self._argument(reader, arguments)

    def _argument(self, reader: Reader, arguments: Arguments) -> Parse[None]:
        is_text: bool | None = None
        with reader.held():
            name = yield from reader.until('"' if self.kinds else self.named)
            if self.kinds:
                kinds = dict(self.kinds)
                is_text = kinds[(yield from reader.expect(*kinds))]
            yield from reader.accept(self.gap)
        closings = dict.fromkeys((self.gap + self.parameter_end, self.parameter_end))
        yield from arguments.read(name, *closings, is_text=is_text)

    def grammar(self, lark: Lark, calls: Calls) -> str:
        each = [self._call_rule(lark, tool) for tool in calls.tools]
        one = lark.rule("call", " | ".join(each))
        more = f" ({one})*" if calls.is_parallel else ""
        return f'{lark.mark(self.opening)} "\\n" {one}{more} {lark.mark(self.closing)}'

    def _call_rule(self, lark: Lark, tool: Tool) -> str:
        parts = [lark.text(f"{self.call}{tool.name}{self.named}\n")]
        for name, schema, is_required in schemas.properties(tool.schema):
            rule = self._argument_rule(lark, name, schema)
            parts.append(rule if is_required else f"{rule}?")
        return lark.rule("function", " ".join([*parts, lark.text(f"{self.call_end}\n")]))

    def _argument_rule(self, lark: Lark, name: str, schema: Mapping[str, Any]) -> str:
        is_text = schemas.is_text(schema)
        named = self.named
        if self.kinds:
            named = '"' + next(text for text, kind in self.kinds if kind == is_text)
        opening = lark.text(f"{self.parameter}{name}{named}{self.gap}")
        closing = self.gap + self.parameter_end
        value = (
            bare_text(lark, schema, closing)
            if is_text
            else f"{lark.json(schema)} {lark.text(closing)}"
        )
        return lark.rule("argument", f'{opening} {value} "\\n"')
