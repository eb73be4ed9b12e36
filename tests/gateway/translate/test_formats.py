"""Every field that says what the answer shall be, as one grammar."""

import json

import msgspec
import pytest

from engine.api import Grammar
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.chat import ChatRequest
from gateway.openai.sampling import SamplingFields
from gateway.translate.formats import read_grammar

SCHEMA = {"type": "object", "properties": {"b": {"type": "null"}, "a": {"const": 1}}}


def asked(**fields: object) -> SamplingFields:
    return msgspec.convert({"model": "m", **fields}, SamplingFields)


def schema_format(**fields: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "n", **fields}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": schema_format(schema=SCHEMA)}, "response_format.json_schema.schema"),
        ({"guided_json": SCHEMA}, "guided_json"),
        ({"guided_json": json.dumps(SCHEMA)}, "guided_json"),
        ({"json_schema": SCHEMA}, "json_schema"),
        ({"structured_outputs": {"json": SCHEMA}}, "structured_outputs.json"),
    ],
)
def test_schemas_are_one_grammar(fields, param):
    """Whoever's field it is in, a schema is read alike, with its properties in their order."""
    grammar, where = read_grammar(asked(**fields))

    assert grammar is not None
    assert grammar.kind == "json_schema"
    assert list(json.loads(grammar.text)["properties"]) == ["b", "a"]
    assert where == param


def test_strict_schemas_are_not_approximated():
    """Without `strict`, a `oneOf` whose schemas overlap is read as `anyOf`; with it, it is refused."""
    loose, _ = read_grammar(asked(response_format=schema_format(schema=SCHEMA)))
    strict, _ = read_grammar(asked(response_format=schema_format(schema=SCHEMA, strict=True)))

    assert loose
    assert json.loads(loose.text) == SCHEMA | {"x-guidance": {"coerce_one_of": True}}
    assert strict
    assert json.loads(strict.text) == SCHEMA


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"guided_regex": "a+"}, Grammar("regex", "a+")),
        ({"structured_outputs": {"regex": "a+"}}, Grammar("regex", "a+")),
        ({"guided_choice": ["yes", 'n"o']}, Grammar("lark", r'start: "yes" | "n\"o"')),
        ({"structured_outputs": {"choice": ["é"]}}, Grammar("lark", 'start: "é"')),
        ({"guided_grammar": "start: x"}, Grammar("lark", "start: x")),
        ({"grammar": 'root ::= "a"'}, Grammar("lark", 'root ::= "a"')),
        ({"grammar": ""}, None),
        ({"response_format": {"type": "text"}}, None),
        ({}, None),
    ],
)
def test_other_kinds(fields, expected):
    """Expressions and grammars are handed on; choices are alternatives, whatever is in them."""
    assert read_grammar(asked(**fields))[0] == expected


def test_json_object_is_any_object():
    """JSON mode: an object, not an array or a number."""
    grammar, _ = read_grammar(asked(response_format={"type": "json_object"}))

    assert grammar
    assert json.loads(grammar.text)["type"] == "object"


def test_two_at_once_are_refused():
    """There is no telling which of them was meant."""
    with pytest.raises(InvalidRequest, match="one of them only"):
        read_grammar(asked(guided_regex="a", guided_json={}))


def test_structural_tags_are_refused_by_name():
    """VLLM knows more than we do, and what we do not know is not ignored."""
    with pytest.raises(Unsupported, match="structural_tag"):
        read_grammar(asked(structured_outputs={"structural_tag": {"structures": []}}))


def test_chats_have_every_field():
    """The fields are those of chats and plain completions alike."""
    assert set(SamplingFields.__struct_fields__) <= set(ChatRequest.__struct_fields__)
