"""Schemas of finite languages: a model that knows nothing comes to their end all the same."""

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

_words = st.text('abcdefgh é"\\/\n', max_size=6)
_leaves = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": None}, {"const": {"a": [1]}}]),
    st.builds(lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
              st.integers(-99, 99), st.integers(0, 999)),
    st.builds(lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
              st.integers(0, 3), st.integers(0, 4)),
    st.sampled_from(["^[a-c]{2,4}$", "^(x|yy)-[0-9]{3}$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.lists(_words | st.integers(-9, 9), min_size=1, max_size=4).map(lambda v: {"enum": v}),
    st.lists(_words, min_size=1, max_size=4).map(lambda v: {"type": "string", "enum": v}),
    _words.map(lambda value: {"const": value}),
)  # fmt: skip


def _array(items: Schema, least: int, more: int) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": least + more}


def _object(properties: dict[str, Schema], data: int) -> Schema:
    required = [name for place, name in enumerate(properties) if data >> place & 1]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schemas(names: st.SearchStrategy[str]) -> st.SearchStrategy[Schema]:
    def deeper(schemas: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
        return st.one_of(
            st.builds(_array, schemas, st.integers(0, 2), st.integers(0, 2)),
            st.builds(_object, st.dictionaries(names, schemas, max_size=4), st.integers(0, 15)),
            st.lists(schemas, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        )

    return st.recursive(_leaves, deeper, max_leaves=5)


_any = _schemas(st.text('abc_ é"', min_size=1, max_size=4))
schemas = _any | _any.map(lambda one: {"$ref": "#/$defs/it", "$defs": {"it": one}})
"""Of any value."""

_names = st.text("abcdef_", min_size=1, max_size=4)
_arguments = st.builds(
    _object, st.dictionaries(_names, _schemas(_names), max_size=3), st.integers(0, 15)
)


def _by_reference(schema: Schema) -> Schema:
    """The same, as pydantic writes what has a class of its own."""
    properties = {name: {"$ref": f"#/$defs/{name}"} for name in schema["properties"]}
    return {**schema, "properties": properties, "$defs": schema["properties"]}


arguments = _arguments | _arguments.map(_by_reference)
"""Of a tool's arguments: names are words, as functions have them."""
