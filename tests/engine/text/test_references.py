import json

import pytest

from engine.text.references import empty_circle


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"$ref": "#"}, "#"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "#/$defs/a"),
        ({"properties": {"x": {"$ref": "#/$defs/a~1b"}}, "$defs": {"a/b": {"$ref": "#/$defs/a~1b"}}}, "#/$defs/a~1b"),
        ({"items": {"$ref": "#"}}, None),
        ({"$ref": "#/$defs/tree", "$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}}}}}, None),
        ({"$ref": "#/none"}, None),
        ({"$ref": "http://example.com"}, None),
        ({"$ref": 5, "properties": {"$ref": {"type": "string"}}}, None),
    ],
)  # fmt: skip
def test_a_circle_of_references_alone_is_found(schema, expected):
    """Trees and lists refer to themselves as well, but through something that a value has."""
    assert empty_circle(json.dumps(schema)) == expected
