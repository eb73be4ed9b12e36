"""GLM's calls: the name, then keys and bare values in turn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.text.tools import schema as schemas
from engine.text.tools.arguments import Arguments
from engine.text.tools.bare_text import bare_text
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import NotACallError, Parse, Reader

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_KEY, _KEY_END, _VALUE, _VALUE_END = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"


@dataclass(frozen=True, slots=True)
class GlmCalls:
    """`<tool_call>name (<arg_key>k</arg_key> <arg_value>v</arg_value>)* </tool_call>`, GLM 4.5 on."""

    @property
    def opening(self) -> str:
        return _OPENING

    def parse(self, reader: Reader) -> Parse[None]:
        while (yield from reader.scan(reader.say, _OPENING)) is not None:
            yield from reader.attempt(self._call(reader), _OPENING)

    def _call(self, reader: Reader) -> Parse[None]:
        name = (yield from reader.run(lambda char: char not in "<\n")).strip()
        if not name:
            raise NotACallError
        yield from reader.space()
        tag = yield from reader.expect(_KEY, _CLOSING)
        reader.call(name)
        arguments = Arguments(reader, reader.schema(name))
        while tag == _KEY:
            with reader.held():
                key = (yield from reader.until(_KEY_END)).strip()
                yield from reader.space()
                yield from reader.expect(_VALUE)
            yield from arguments.read(key, _VALUE_END)
            with reader.held():
                yield from reader.space()
                tag = yield from reader.expect(_KEY, _CLOSING)
        arguments.close()

    def grammar(self, lark: Lark, calls: Calls) -> str:
        one = lark.rule("call", " | ".join(_call_rule(lark, tool) for tool in calls.tools))
        return f'{one} ("\\n" {one})*' if calls.is_parallel else one


def _call_rule(lark: Lark, tool: Tool) -> str:
    parts = [lark.mark(_OPENING), lark.text(f"{tool.name}\n")]
    for name, schema, is_required in schemas.properties(tool.schema):
        rule = _argument_rule(lark, name, schema)
        parts.append(rule if is_required else f"{rule}?")
    return lark.rule("function", " ".join([*parts, lark.mark(_CLOSING)]))


def _argument_rule(lark: Lark, name: str, schema: Mapping[str, Any]) -> str:
    key = f'{lark.mark(_KEY)} {lark.text(name)} {lark.mark(_KEY_END)} "\\n" {lark.mark(_VALUE)}'
    if schemas.is_text(schema):
        value = bare_text(lark, schema, _VALUE_END)
    else:
        value = f"{lark.json(schema)} {lark.mark(_VALUE_END)}"
    return lark.rule("argument", f'{key} {value} "\\n"')
