"""The tree of settings as its structs declare it: types, tables within tables, and docstrings."""

import re
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

Place = tuple[str, ...]
"""Where a setting is: the names of the tables that lead to it, and its own."""

_NAMED = re.compile(r"(?:^|(?<=[.;]\s))(?P<names>[a-z_]+(?:, [a-z_]+)*): ", re.MULTILINE)


@cache
def hints_of(struct: type[Struct]) -> dict[str, Any]:
    """The type of each field, constraints included."""
    return get_type_hints(struct, include_extras=True)


def table_in(hint: Any) -> type[Struct] | None:
    """The struct that a value of this type is, if it is one."""
    for kind in _kinds(hint):
        if isinstance(kind, type) and issubclass(kind, Struct):
            return kind
    return None


def entry_in(hint: Any) -> type[Struct] | None:
    """The struct that each entry of a list, or of a table by name, is, if it is one."""
    for kind in _kinds(hint):
        if get_origin(kind) in {dict, list, tuple}:
            return next(filter(None, map(table_in, get_args(kind))), None)
    return None


def _kinds(hint: Any) -> list[Any]:
    """The types that a value may have, apart from None, without their constraints."""
    if get_origin(hint) is Annotated:
        return _kinds(get_args(hint)[0])
    if get_origin(hint) in {Union, UnionType}:
        return [kind for each in get_args(hint) if each is not NoneType for kind in _kinds(each)]
    return [hint]


def defaults_of(struct: type[Struct]) -> dict[str, Any]:
    """What each field is that need not be said."""
    return {
        each.name: each.default_factory() if each.default is NODEFAULT else each.default
        for each in fields(struct)
        if not each.required
    }


@cache
def descriptions_of(struct: type[Struct]) -> dict[str, str]:
    """What the struct's docstring, and those it inherits from, say of its fields.

    A field's part begins with its name and a colon, at the start of a line or a sentence: "port: 0
    takes a free one." Several may share one.
    """
    found: dict[str, str] = {}
    for kind in reversed(struct.__mro__):
        if issubclass(kind, Struct) and kind is not Struct and "__doc__" in vars(kind):
            found |= _read(vars(kind)["__doc__"] or "", struct.__struct_fields__)
    return found


def _read(docstring: str, fields: tuple[str, ...]) -> dict[str, str]:
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", docstring)
    starts = [m for m in _NAMED.finditer(text) if set(m["names"].split(", ")) <= set(fields)]
    ends = [m.start() for m in starts[1:]] + [len(text)]
    return {
        name: " ".join(text[start.end() : end].split()).rstrip(".;")
        for start, end in zip(starts, ends, strict=True)
        for name in start["names"].split(", ")
    }
