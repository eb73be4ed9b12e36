"""The JSON Schema of a settings file, for editors and for programs that write one."""

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from gateway.config import kinds
from gateway.config.fields import defaults_of, descriptions_of, entry_in, hints_of, table_in
from gateway.config.settings import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def settings_schema() -> dict[str, Any]:
    """What a file may say, in draft 2020-12. Names and numbers are bounded as the server does it."""
    _, found = msgspec.json.schema_components(
        [_without_defaults(Settings)], schema_hook=kinds.schema
    )
    for table in tables():
        properties = found[table.__name__]["properties"]
        for name, text in descriptions_of(table).items():
            properties[name]["description"] = text
        for name, value in defaults_of(table).items():
            properties[name]["default"] = msgspec.to_builtins(value, enc_hook=kinds.plain)
    whole: dict[str, Any] = found.pop(Settings.__name__)
    whole["properties"]["$schema"] = {"type": "string"}
    return {"$schema": DIALECT} | whole | {"title": "Roundhouse's settings", "$defs": found}


def tables(struct: type[Struct] = Settings) -> Iterator[type[Struct]]:
    """The struct, and those of the tables in it."""
    yield struct
    for hint in hints_of(struct).values():
        if inner := table_in(hint) or entry_in(hint):
            yield from tables(inner)


@cache
def _without_defaults(struct: type[Struct]) -> type[Struct]:
    """The same fields, none of them required that was not: msgspec cannot write our kinds' values."""
    required = set(struct.__struct_fields__) - set(defaults_of(struct))
    return msgspec.defstruct(
        struct.__name__,
        [
            (name, _bare(hint))
            if name in required
            else (name, _bare(hint), msgspec.field(default_factory=lambda: None))
            for name, hint in hints_of(struct).items()
        ],
        namespace={"__doc__": (struct.__doc__ or "").split("\n")[0]},
        kw_only=True,
        forbid_unknown_fields=True,
    )


def _bare(hint: Any) -> Any:
    """The type with the structs in it replaced."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_bare(inner[0]), *inner[1:])]
    if origin in {Union, UnionType}:
        return Union[tuple(_bare(each) for each in inner)]  # noqa: UP007 (made of what there is)
    if origin in {list, dict, tuple}:
        return origin[tuple(_bare(each) for each in inner)]
    return _without_defaults(hint) if table_in(hint) else hint
