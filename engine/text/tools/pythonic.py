"""Calls as Python writes them: `[f(a=1), g(b="x")]`."""

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

from engine.text.tools import schema as schemas
from engine.text.tools.arguments import Arguments
from engine.text.tools.json_calls import call_object
from engine.text.tools.lark import Calls, Lark, Tool
from engine.text.tools.reader import NotACallError, Parse, Reader

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_CONSTANTS = {"true": True, "false": False, "null": None}
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class PythonicCalls:
    """`opening` `[` call (`, ` call)* `]` `closing`.

    Without an opening the list is the whole answer, and only tools that there are are called so.
    Values are literals of Python or JSON. Behind an opening calls may be JSON objects too, as LFM2
    writes them when it is told to.
    """

    opening: str = ""
    closing: str = ""

    def parse(self, reader: Reader) -> Parse[None]:
        if not self.opening:
            yield from reader.attempt(self._calls(reader))
            yield from reader.scan(reader.say)
            return
        while (yield from reader.scan(reader.say, self.opening)) is not None:
            yield from reader.attempt(self._calls(reader), self.opening)

    def _calls(self, reader: Reader) -> Parse[None]:
        yield from reader.space()
        yield from reader.expect("[")
        while True:
            yield from reader.space()
            is_json = bool(self.opening) and (yield from reader.peek()) == "{"
            yield from call_object(reader) if is_json else self._call(reader)
            reader.keep()
            yield from reader.space()
            if (yield from reader.expect(",", "]")) == "]":
                break
        reader.keep()
        yield from reader.space()
        yield from reader.accept(self.closing)

    def _call(self, reader: Reader) -> Parse[None]:
        name = yield from reader.run(lambda char: char.isalnum() or char in "_.-")
        yield from reader.expect("(")
        if not _NAME.fullmatch(name) or not (self.opening or name in reader.tools):
            raise NotACallError
        reader.call(name)
        arguments = Arguments(reader, reader.schema(name))
        with reader.held():
            yield from reader.space()
            is_closed = yield from reader.accept(")")
        while not is_closed:
            with reader.held():
                key, value, end = yield from _argument(reader)
            arguments.add(key, value)
            is_closed = end == ")"
        arguments.close()

    def grammar(self, lark: Lark, calls: Calls) -> str:
        one = lark.rule("call", " | ".join(_rule(lark, tool) for tool in calls.tools))
        more = f' (", " {one})*' if calls.is_parallel else ""
        return f'{lark.mark(self.opening)} "[" {one}{more} "]" {lark.mark(self.closing)}'


def _argument(reader: Reader) -> Parse[tuple[str, str, str]]:
    """`key=value`: the key, the value as JSON, and the `,` or `)` after it."""
    yield from reader.space()
    key = yield from reader.run(lambda char: char.isalnum() or char == "_")
    yield from reader.space()
    yield from reader.expect("=")
    source = yield from _balanced(reader)
    try:
        value = _as_value(ast.parse(source.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotACallError from None
    if not key:
        raise NotACallError
    return key, json.dumps(value, ensure_ascii=False), (yield from reader.expect(",", ")"))


def _balanced(reader: Reader) -> Parse[str]:
    """Text up to the `,` or `)` that belongs to no bracket and no string in it."""
    kept: list[str] = []
    open_brackets: list[str] = []
    while char := (yield from reader.peek()):
        if not open_brackets and char in ",)":
            return "".join(kept)
        yield from reader.accept(char)
        kept.append(char)
        if char in "\"'":
            yield from _rest_of_string(reader, char, kept)
        elif char in _PAIRS:
            open_brackets.append(_PAIRS[char])
        elif char in ")]}" and (not open_brackets or open_brackets.pop() != char):
            break
    raise NotACallError


def _rest_of_string(reader: Reader, quote: str, kept: list[str]) -> Parse[None]:
    while char := (yield from reader.peek()):
        yield from reader.accept(char)
        # a literal may not run over lines, but models' strings do
        kept.append("\\n" if char == "\n" else char)
        if char == quote:
            return
        if char == _ESCAPE:
            escaped = yield from reader.peek()
            yield from reader.accept(escaped)
            kept.append(escaped)
    raise NotACallError


def _as_value(node: ast.expr) -> Any:
    """What a literal stands for. Raises `ValueError` for what is none."""
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_as_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {
                str(_as_value(key)): _as_value(value)
                for key, value in zip(keys, values, strict=True)
                if key is not None
            }
    raise ValueError(ast.dump(node))


def _rule(lark: Lark, tool: Tool) -> str:
    """One call with its arguments in the schema's order; those not required may be left out."""
    pairs = [
        (is_required, f"{lark.text(f'{name}=')} {lark.json(schema)}")
        for name, schema, is_required in schemas.properties(tool.schema)
    ]
    return lark.rule("function", f'{lark.text(f"{tool.name}(")} {lark.listed(pairs)} ")"')
