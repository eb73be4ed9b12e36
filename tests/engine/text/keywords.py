"""What becomes of each keyword of JSON Schema: a schema of it, a value that is right, one that is not.

As they are met in schemas of programs: APIs, settings, tools.
"""

from typing import Any

NAME = {"type": "string", "maxLength": 8}
OLD = {"$schema": "http://json-schema.org/draft-07/schema#"}

HONOURED: list[tuple[str, Any, Any, Any]] = [
    ("type", {"type": "integer"}, 5, "5"),
    ("type", {"type": ["string", "null"]}, None, 5),
    ("type", {"type": "number"}, -1.5e3, True),
    ("enum", {"enum": ["a", 1, None]}, 1, 2),
    ("const", {"const": {"kind": ["x"]}}, {"kind": ["x"]}, {"kind": []}),
    ("anyOf", {"anyOf": [NAME, {"type": "null"}]}, None, 1),
    ("oneOf", {"oneOf": [{"type": "null"}, NAME], "x-guidance": {"coerce_one_of": True}}, "a", 1),
    ("allOf", {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, 4, 6),
    ("$ref", {"$ref": "#/$defs/n", "$defs": {"n": NAME}}, "ab", 5),
    (
        "$ref",
        {
            "$ref": "#/$defs/tree",
            "$defs": {
                "tree": {
                    "type": "object",
                    "properties": {"of": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
                    "required": ["of"],
                    "additionalProperties": False,
                }
            },
        },
        {"of": [{"of": []}, {"of": [{"of": []}]}]},
        {"of": [{}]},
    ),
    ("$ref", {"$ref": "#/definitions/n", "definitions": {"n": NAME}}, "ab", 5),
    ("properties", {"properties": {"a": {"type": "null"}}}, {"a": None}, {"a": 1}),
    ("required", {"type": "object", "properties": {"a": NAME}, "required": ["a"]}, {"a": ""}, {}),
    (
        "additionalProperties",
        {"type": "object", "additionalProperties": NAME},
        {"x": "y"},
        {"x": 1},
    ),
    ("additionalProperties", {"type": "object", "additionalProperties": False}, {}, {"x": 1}),
    ("patternProperties", {"patternProperties": {"^n_": NAME}}, {"n_a": "b"}, {"n_a": 1}),
    ("minProperties", {"type": "object", "minProperties": 1}, {"a": 1}, {}),
    (
        "maxProperties",
        {"type": "object", "additionalProperties": NAME, "maxProperties": 1},
        {"a": "b"},
        {"a": "b", "c": "d"},
    ),
    ("items", {"type": "array", "items": {"type": "boolean"}}, [True], [1]),
    ("prefixItems", {"type": "array", "prefixItems": [NAME, {"const": 1}]}, ["a", 1], [1, "a"]),
    (
        "additionalItems",
        OLD | {"items": [NAME], "additionalItems": {"const": 1}},
        ["a", 1],
        ["a", 2],
    ),
    ("minItems", {"type": "array", "minItems": 2}, [1, 2], [1]),
    ("maxItems", {"type": "array", "maxItems": 1}, [1], [1, 2]),
    ("minLength", {"type": "string", "minLength": 2}, "é\n", "a"),
    ("maxLength", {"type": "string", "maxLength": 2}, "é\n", "abc"),
    ("pattern", {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}, "AB-12", "AB-"),
    ("pattern", {"type": "string", "pattern": "cat|dog"}, "a dog!", "a do"),
    ("format", {"type": "string", "format": "date-time"}, "2026-01-31T10:00:00Z", "today"),
    ("format", {"type": "string", "format": "email"}, "a@b.org", "a"),
    ("format", {"type": "string", "format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000", "1"),
    ("format", {"type": "string", "format": "ipv4"}, "10.0.0.255", "10.0.0.256"),
    ("minimum", {"type": "integer", "minimum": -7}, -7, -8),
    ("maximum", {"type": "number", "maximum": 2.5}, 2.5, 2.6),
    ("exclusiveMinimum", {"type": "integer", "exclusiveMinimum": 7}, 8, 7),
    ("exclusiveMaximum", {"type": "integer", "exclusiveMaximum": 7}, 6, 7),
    ("multipleOf", {"type": "integer", "multipleOf": 15}, 45, 46),
]

IGNORED: dict[str, Any] = {
    "title": "A",
    "description": "words",
    "default": 1,
    "examples": [1],
    "deprecated": True,
    "readOnly": True,
    "writeOnly": True,
    "nullable": True,
    "$comment": "words",
    "$id": "https://example.org/a",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "contentEncoding": "base64",
    "contentMediaType": "text/plain",
    "x-own": {"any": "thing"},
}
"""They say nothing of what is valid, or are no keywords of the standard."""

REFUSED: dict[str, Any] = {
    "not": {},
    "if": {},
    "then": {},
    "else": {},
    "contains": {},
    "minContains": 1,
    "maxContains": 1,
    "uniqueItems": True,
    "propertyNames": {},
    "dependencies": {},
    "dependentRequired": {},
    "dependentSchemas": {},
    "unevaluatedItems": False,
    "unevaluatedProperties": False,
    "$dynamicRef": "#a",
}
