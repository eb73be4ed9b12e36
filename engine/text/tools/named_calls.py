"""Calls as a name between markers and then a JSON object."""

import re
from dataclasses import dataclass

from engine.text.tools import json_text
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import NotACallError, Parse, Reader
from engine.text.tools.section import read_section


@dataclass(frozen=True, slots=True)
class NamedCalls:
    """`section` (`call` name `arguments` {...} `call_end`)+ `section_end`; any but `call` may be empty.

    kind: what stands before the name. id_mark: what stands between a name and an id. fence_end: what
    closes the object, before `call_end`. separator: between calls. name_pattern: the tool's name in what the model writes for it,
    `prefix` name `number`, which is the call's id if is_name_id.
    """

    call: str
    arguments: str
    call_end: str = ""
    section: str = ""
    section_end: str = ""
    kind: tuple[str, ...] = ()
    fence_end: str = ""
    id_mark: str = ""
    name_pattern: str = r"(?P<name>[\w./-]+)"
    is_name_id: bool = False
    prefix: str = ""
    number: str = ""
    separator: str = ""

    @property
    def opening(self) -> str:
        return self.section or self.call

    def parse(self, reader: Reader) -> Parse[None]:
        openings = (self.section, self.call) if self.section else (self.call,)
        while opening := (yield from reader.scan(reader.say, *openings)):
            is_in = opening == self.call
            calls = read_section(reader, self._call, self.call, self.section_end, is_in=is_in)
            yield from reader.attempt(calls, opening)

    def _call(self, reader: Reader) -> Parse[None]:
        for kind in self.kind:
            yield from reader.accept(kind)
        name, id_ = yield from self._name(reader)
        yield from reader.space()
        if (yield from reader.peek()) != "{":
            raise NotACallError
        reader.call(name, id_)
        yield from json_text.value(reader, reader.argue)
        if self.call_end:
            yield from reader.space()
            yield from reader.accept(self.fence_end.strip())
            yield from reader.space()
            yield from reader.accept(self.call_end)

    def _name(self, reader: Reader) -> Parse[tuple[str, str | None]]:
        head = (yield from reader.until(self.arguments)).strip()
        text, _, id_ = head.partition(self.id_mark) if self.id_mark else (head, "", "")
        found = re.fullmatch(self.name_pattern, text)
        if found is None:
            raise NotACallError
        return found["name"], head if self.is_name_id else id_ or None

    def grammar(self, lark: Lark, calls: Calls) -> str:
        one = lark.rule("call", " | ".join(self._rule(lark, tool) for tool in calls.tools))
        body = f"{one} ({lark.text(self.separator)} {one})*" if calls.is_parallel else one
        return f"{lark.mark(self.section)} {body} {lark.mark(self.section_end)}"

    def _rule(self, lark: Lark, tool: Tool) -> str:
        number = f" {self.number}" if self.number else ""
        parts = [
            lark.mark(self.call),
            *map(lark.mark, self.kind),
            f"{lark.text(f'{self.prefix}{tool.name}')}{number}",
            lark.mark(self.arguments),
            f"{lark.json(tool.schema)} {lark.text(self.fence_end)}",
            lark.mark(self.call_end),
        ]
        return lark.rule("named", " ".join(parts))
