"""Strings that stand bare between marks, held to what their schema says of them."""

import re

from llguidance import regex_to_lark

from engine.text.tools.lark import ANY_TEXT, Lark
from engine.text.tools.schema import Schema, branches, choices

_ANCHORED = re.compile(r"\^(.*)\$", re.DOTALL)
_OUTSIDE_CLASSES = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)


def bare_text(lark: Lark, schema: Schema, closing: str) -> str:
    """The rule of a string and its closing: of those listed, or as long and shaped as they must be.

    A pattern holds unless it has alternatives or anchors of its own outside groups; formats (dates
    and the like) are for the model to know.
    """
    return lark.rule("bare", " | ".join(_branch(lark, each, closing) for each in branches(schema)))


def _branch(lark: Lark, schema: Schema, closing: str) -> str:
    listed = choices(schema)
    if listed is not None:
        texts = " | ".join(lark.text(text) for text in listed if isinstance(text, str))
        return f"({texts or lark.text('')}) {lark.mark(closing)}"
    return lark.until(closing, _body(schema))


def _body(schema: Schema) -> str:
    least, most = _length(schema, "minLength"), _length(schema, "maxLength")
    parts = []
    if least or most is not None:
        parts.append(rf"/(.|\n){{{least or 0},{'' if most is None else most}}}/")
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and (shape := _shape(pattern)) is not None:
        parts.append(shape)
    return " & ".join(f"({part})" for part in parts) or ANY_TEXT


def _length(schema: Schema, key: str) -> int | None:
    found = schema.get(key)
    return found if isinstance(found, int) and found >= 0 else None


def _shape(pattern: str) -> str | None:
    """The pattern as a regular expression of the whole text, None if that is hard to tell."""
    anchored = _ANCHORED.fullmatch(pattern)
    body = anchored[1] if anchored and not anchored[1].endswith("\\") else pattern
    if _is_composite(body):
        return None
    shape = f"/{regex_to_lark(body, 'dw')}/"
    return shape if body != pattern else f"{ANY_TEXT} {shape} {ANY_TEXT}"


def _is_composite(pattern: str) -> bool:
    """Whether an anchor, or an alternative outside every group, is left."""
    depth = 0
    for char in _OUTSIDE_CLASSES.sub("", pattern):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char in "^$" or (char == "|" and not depth):
            return True
    return not pattern
