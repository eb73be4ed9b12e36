"""Wire structs as JSON schemas (2020-12), each under a name of its own."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from msgspec import inspect as mi

_REF = "#/components/schemas/{name}"

_ANYTHING = {"description": "Any value."}

Schema = dict[str, Any]


class Schemas:
    """components: name -> schema, of every struct that `bodies` and `replies` are made of.

    A struct that only replies have lists as required whatever a reply always has, its defaults too:
    msgspec describes what it would decode, which may leave them out.
    """

    def __init__(self, bodies: Iterable[Any], replies: Iterable[Any]) -> None:
        read = _structs_of(bodies)
        kinds = list(dict.fromkeys([*read, *_structs_of(replies)]))
        refs, components = msgspec.json.schema_components(
            kinds, schema_hook=lambda _: _ANYTHING, ref_template=_REF
        )
        self._refs = dict(zip(kinds, refs, strict=True))
        for kind in set(kinds) - set(read):
            _require_all(kind, components[self._refs[kind]["$ref"].rpartition("/")[2]])
        self.components: dict[str, Schema] = _shorten(components)
        for schema in self.components.values():
            if "description" in schema:
                schema["description"] = cleandoc(schema["description"])

    def any_of(self, kinds: Iterable[type[Struct]]) -> Schema:
        refs = [_shorten(self._refs[kind]) for kind in dict.fromkeys(kinds)]
        return refs[0] if len(refs) == 1 else {"anyOf": refs}


def _structs_of(types: Iterable[Any]) -> list[type[Struct]]:
    """Those that the types are made of, each once."""
    found: dict[type[Struct], None] = {}
    waiting: list[mi.Type] = list(mi.multi_type_info(types))
    while waiting:
        match waiting.pop():
            case mi.StructType(cls=kind, fields=fields) if kind not in found:
                found[kind] = None
                waiting += [field.type for field in fields]
            case mi.UnionType(types=members):
                waiting += members
            case mi.CollectionType(item_type=item):
                waiting.append(item)
            case mi.DictType(value_type=value):
                waiting.append(value)
            case mi.Metadata(type=inner):
                waiting.append(inner)
    return list(found)


def _require_all(kind: type[Struct], schema: Schema) -> None:
    if kind.__struct_config__.omit_defaults:
        return
    names = kind.__struct_encode_fields__
    defaults = (None,) * (len(names) - len(kind.__struct_defaults__)) + kind.__struct_defaults__
    always = [name for name, default in zip(names, defaults, strict=True) if default is not UNSET]
    tag = kind.__struct_config__.tag_field
    schema["required"] = [tag, *always] if tag else always


def _shorten(schema: Any) -> Any:
    """Names that several structs share come with their module, of which the package goes."""
    match schema:
        case dict():
            return {_short(key): _shorten(value) for key, value in schema.items()}
        case list():
            return [_shorten(item) for item in schema]
        case str() if schema.startswith("#/"):
            head, _, name = schema.rpartition("/")
            return f"{head}/{_short(name)}"
        case _:
            return schema


def _short(name: str) -> str:
    return name.removeprefix("gateway.")
