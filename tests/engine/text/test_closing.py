import pytest

from engine.text.closing import closed

INT = {"type": "integer"}


def test_an_object_has_the_properties_that_it_names():
    """At every depth; what is asked for is not changed."""
    inner = {"type": "object", "properties": {"b": INT}}
    schema = {"properties": {"a": inner, "c": {"type": "array", "items": inner}}}

    made = closed(schema)

    shut = {**inner, "additionalProperties": False}
    assert made == {
        "properties": {"a": shut, "c": {"type": "array", "items": shut}},
        "additionalProperties": False,
    }
    assert "additionalProperties" not in schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"additionalProperties": INT},
        {"properties": {"a": INT}, "additionalProperties": True},
        {"properties": {"a": INT}, "additionalProperties": INT},
    ],
)
def test_who_says_what_else_there_may_be_is_heard(schema):
    """An object of any properties stays one."""
    assert closed(schema) == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"a": INT}}, {"properties": {"b": INT}}]},
        {"properties": {"a": INT}, "anyOf": [{"properties": {"b": INT}}]},
        {"properties": {"a": INT}, "$ref": "#/$defs/x", "$defs": {"x": {"properties": {"b": INT}}}},
        {"items": {"properties": {"a": INT}, "oneOf": [{"properties": {"b": INT}}]}},
    ],
)
def test_properties_from_several_places_stay_possible(schema):
    """Closing one place would forbid those of the next."""
    assert closed(schema) == schema


def test_branches_and_definitions_are_closed():
    """Each stands for a whole object."""
    schema = {
        "anyOf": [{"$ref": "#/$defs/x"}, {"properties": {"a": INT}}],
        "$defs": {"x": {"properties": {"b": INT}}},
    }

    made = closed(schema)

    assert made["anyOf"][1]["additionalProperties"] is False
    assert made["$defs"]["x"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "odd", [{"properties": []}, {"anyOf": 3}, {"items": True}, {"$defs": None}]
)
def test_what_is_no_schema_is_left_to_others(odd):
    """Who compiles it says what is wrong."""
    assert closed(odd) == odd
