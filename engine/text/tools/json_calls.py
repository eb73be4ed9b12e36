"""Calls as JSON objects that hold a name and arguments, in tags, in lists, or bare."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.text.tools import json_text
from engine.text.tools.lark import Calls, Lark
from engine.text.tools.reader import NotACallError, Parse, Reader

_ARGUMENTS = frozenset({"arguments", "parameters"})


@dataclass(frozen=True, slots=True)
class JsonCalls:
    """`opening` object `closing`, repeated; or one `opening` [object, ...] `closing`.

    key: what arguments are written under; "arguments" and "parameters" are both read. layout: what
    stands between tags and objects. extra: fields of the object after its arguments, as JSON.
    """

    opening: str
    closing: str = ""
    is_list: bool = False
    key: str = "arguments"
    layout: str = ""

    def parse(self, reader: Reader) -> Parse[None]:
        while (yield from reader.scan(reader.say, self.opening)) is not None:
            if (yield from reader.attempt(self._calls(reader), self.opening)) and self.closing:
                # what strays between a call and its closing is shown rather than lost
                yield from _close(reader, self.closing)

    def _calls(self, reader: Reader) -> Parse[None]:
        yield from reader.space()
        is_list = yield from reader.accept("[")
        yield from reader.space()
        while True:
            yield from call_object(reader)
            reader.keep()
            yield from reader.space()
            if is_list and (yield from reader.accept("]")):
                return
            if is_list:
                yield from reader.expect(",")
                yield from reader.space()
            elif (yield from reader.peek()) != "{":
                return

    def grammar(self, lark: Lark, calls: Calls) -> str:
        objects = [object_rule(lark, self.key, tool.name, tool.schema) for tool in calls.tools]
        one = lark.rule("call", " | ".join(objects))
        start, end = lark.mark(self.opening), lark.mark(self.closing)
        gap = lark.text(self.layout)
        if self.is_list:
            more = f' ("," " "? {one})*' if calls.is_parallel else ""
            return f'{start} {gap} "[" {one}{more} "]" {gap} {end}'
        tagged = lark.rule("tagged", f"{start} {gap} {one} {gap} {end}")
        return f'{tagged} ("\\n" {tagged})*' if calls.is_parallel else tagged


@dataclass(frozen=True, slots=True)
class BareJsonCalls:
    """The whole answer is objects and nothing else; any other answer is text.

    Only tools that there are are called so: an answer may be JSON of its own. prefix: a token that
    may stand before the first. separator: between two.
    """

    key: str = "arguments"
    prefix: str = ""
    separator: str = "; "
    is_read: bool = True

    @property
    def opening(self) -> str:
        return ""

    def parse(self, reader: Reader) -> Parse[None]:
        if self.is_read:
            yield from reader.attempt(self._calls(reader))
        yield from reader.scan(reader.say)

    def _calls(self, reader: Reader) -> Parse[None]:
        yield from reader.space()
        if self.prefix:
            yield from reader.accept(self.prefix)
            yield from reader.space()
        while True:
            yield from call_object(reader, is_known=True)
            reader.keep()
            yield from reader.run(lambda char: char.isspace() or char in ";,")
            if (yield from reader.peek()) != "{":
                raise NotACallError  # and what was taken for separators is text

    def forced(self) -> "BareJsonCalls":
        """Where a grammar has made the answer a call."""
        return replace(self, is_read=True)

    def grammar(self, lark: Lark, calls: Calls) -> str:
        objects = [object_rule(lark, self.key, tool.name, tool.schema) for tool in calls.tools]
        one = lark.rule("call", " | ".join(objects))
        return f"{one} ({lark.text(self.separator)} {one})*" if calls.is_parallel else one


def call_object(reader: Reader, *, is_known: bool = False) -> Parse[None]:
    """`{"name": ..., "arguments": {...}}`, in either order, among fields that mean nothing here.

    is_known: a name that no tool has makes it no call.
    """
    name: str | None = None
    id_: str | None = None
    early: str | None = None
    is_open = False
    yield from reader.expect("{")
    yield from reader.space()
    while True:
        key = yield from json_text.read_string(reader)
        yield from _colon(reader)
        if key == "name" and name is None:
            name = yield from json_text.read_string(reader)
            if is_known and name not in reader.tools:
                raise NotACallError
        elif key in _ARGUMENTS and name is not None and (yield from reader.peek()) == "{":
            reader.call(name, id_)
            is_open = True
            yield from json_text.value(reader, reader.argue)
            reader.keep()
        elif key in _ARGUMENTS:
            early = _as_object((yield from json_text.read(reader)))
        else:
            found = yield from json_text.read(reader)
            id_ = found if key == "id" and isinstance(found, str) else id_
        yield from reader.space()
        if (yield from reader.expect(",", "}")) == "}":
            break
        yield from reader.space()
    if name is None:
        raise NotACallError
    if not is_open:
        reader.call(name, id_)
        reader.argue(early or "{}")


def object_rule(lark: Lark, key: str, name: str, schema: Mapping[str, Any]) -> str:
    """The rule of one tool's object."""
    opening = f'{{"name": {json.dumps(name, ensure_ascii=False)}, "{key}": '
    return lark.rule("object", f"{lark.text(opening)} {lark.json(schema)} {lark.text('}')}")


def _colon(reader: Reader) -> Parse[None]:
    yield from reader.space()
    yield from reader.expect(":")
    yield from reader.space()


def _as_object(found: object) -> str:
    """Arguments that came before the name, or as a text that holds JSON."""
    if isinstance(found, str):
        try:
            found = json.loads(found or "{}")
        except ValueError:
            raise NotACallError from None
    if not isinstance(found, dict | None):
        raise NotACallError
    return json.dumps(found or {}, ensure_ascii=False)


def _close(reader: Reader, closing: str) -> Parse[None]:
    yield from reader.space()
    yield from reader.accept(closing)
