"""What a client is told of a schema that no grammar can be made of."""

import json
from typing import Any

import msgspec
import pytest

from engine.api import Failure, Grammar
from engine.text.grammar_child import answer

OBJECT = {"type": "object"}
EMPTY = {"type": "number", "minimum": 2, "maximum": 1}


def refused(schema: dict[str, Any]) -> str:
    payload = msgspec.msgpack.encode(Grammar("json_schema", json.dumps(schema)))
    failure = msgspec.msgpack.decode(answer(payload), type=Failure | None)
    return failure.message if failure else ""


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (OBJECT | {"not": {}}, 'Unimplemented keys: ["not"] (at #)'),
        (
            OBJECT | {"properties": {"a/b": {"uniqueItems": True}}},
            'Unimplemented keys: ["uniqueItems"] (at #/properties/a~1b)',
        ),
        (
            {"anyOf": [OBJECT, {"items": {"type": "string", "format": "tongue"}}]},
            "Unknown format: tongue (at #/anyOf/1/items)",
        ),
        (
            {"$ref": "#/$defs/used", "$defs": {"used": {"type": "word"}, "other": OBJECT}},
            "Invalid type: word (at #/$defs/used)",
        ),
        (
            OBJECT | {"properties": {"a": EMPTY}, "required": ["a"]},
            "Unsatisfiable schema: minimum (2) is greater than maximum (1) (at #/properties/a)",
        ),
        ({"$ref": "#"}, "leads back to itself alone"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_refusal_names_the_place(schema, message):
    """The keyword or value that is wrong, and a pointer to the smallest schema that has it."""
    assert message in refused(schema)


def test_what_cannot_be_followed_in_part_only_is_not_refused():
    """What nothing refers to, and a branch that no value has, do no harm."""
    assert refused({"anyOf": [OBJECT, EMPTY]}) == ""
    assert refused(OBJECT | {"$defs": {"unused": {"not": {}}}}) == ""


def test_annotations_are_passed_over():
    """Words that say nothing of what is valid, and such as no standard has."""
    words = {"title": "A", "description": "b", "default": {}, "examples": [1], "x-own": 1}

    assert refused(OBJECT | words) == ""
