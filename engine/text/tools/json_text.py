"""JSON in a stream: passed on as it comes, and mended where models commonly slip."""

import json
import re
from typing import Any

from engine.text.tools.reader import NotACallError, Out, Parse, Reader

MAX_DEPTH = 64
_ESCAPES = frozenset('"\\/bfnrtu')
_LITERAL = frozenset("+-.0123456789eEtrufalsn")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


def value(reader: Reader, out: Out, depth: int = 0) -> Parse[None]:
    """Passes one value on. Raises `NotACallError` where it stops being JSON.

    Control characters and backslashes that stand bare in strings are escaped.
    """
    if depth > MAX_DEPTH:
        raise NotACallError
    char = yield from reader.peek()
    if char == "{":
        yield from _members(reader, out, "}", depth)
    elif char == "[":
        yield from _members(reader, out, "]", depth)
    elif char == '"':
        yield from _string(reader, out)
    else:
        with reader.held():
            literal = yield from reader.run(_LITERAL.__contains__)
            if not (literal in {"true", "false", "null"} or _NUMBER.fullmatch(literal)):
                raise NotACallError
        out(literal)


def read(reader: Reader) -> Parse[Any]:
    """One whole value."""
    kept: list[str] = []
    yield from value(reader, kept.append)
    return json.loads("".join(kept))


def read_string(reader: Reader) -> Parse[str]:
    found = yield from read(reader)
    if not isinstance(found, str):
        raise NotACallError
    return found


def quoted(text: str) -> str:
    """The text as the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _members(reader: Reader, out: Out, closing: str, depth: int) -> Parse[None]:
    """An object or an array."""
    out((yield from reader.expect("{" if closing == "}" else "[")))
    out((yield from reader.space()))
    if (yield from reader.accept(closing)):
        out(closing)
        return
    while True:
        if closing == "}":
            yield from _key(reader, out)
        yield from value(reader, out, depth + 1)
        out((yield from reader.space()))
        end = yield from reader.expect(",", closing)
        out(end)
        if end == closing:
            return
        out((yield from reader.space()))


def _key(reader: Reader, out: Out) -> Parse[None]:
    yield from _string(reader, out)
    out((yield from reader.space()))
    out((yield from reader.expect(":")))
    out((yield from reader.space()))


def _string(reader: Reader, out: Out) -> Parse[None]:
    out((yield from reader.expect('"')))
    while True:
        end = yield from reader.scan(lambda text: out(quoted(text)), '"', "\\")
        if end is None:
            raise NotACallError
        if end == '"':
            out(end)
            return
        escaped = yield from reader.peek()
        out("\\" if escaped in _ESCAPES else "\\\\")
        if escaped in _ESCAPES:
            out((yield from reader.expect(escaped)))
