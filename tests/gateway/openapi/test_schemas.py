from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.openapi.schemas import Schemas


class Leaf(Struct):
    value: int = 0


class Asked(Struct):
    """First.

    Second.
    """

    name: Annotated[str, Meta(min_length=1)]
    size: int = 3
    anything: object = None


class Told(Struct, tag="told", tag_field="type"):
    leaves: dict[str, list[Leaf]]
    size: int = 3
    extra: int | UnsetType = UNSET


class Sparse(Struct, omit_defaults=True):
    size: int = 3


def test_a_request_requires_what_has_no_default():
    """As its decoder does."""
    schemas = Schemas([Asked], [])

    assert schemas.components["Asked"]["required"] == ["name"]


def test_a_reply_requires_what_it_always_has():
    """Its defaults are sent too; what may be unset is not, nor the defaults of one that omits them."""
    components = Schemas([], [Told, Sparse]).components

    assert components["Told"]["required"] == ["type", "leaves", "size"]
    assert components["Leaf"]["required"] == ["value"]
    assert components["Sparse"]["required"] == []


def test_what_requests_and_replies_share_may_be_left_out():
    """A schema has one name, and the looser meaning is true of both."""
    assert Schemas([Leaf], [Told]).components["Leaf"]["required"] == []


def test_a_field_of_any_value_says_so():
    """Msgspec would refuse to describe it."""
    properties: dict[str, Any] = Schemas([Asked], []).components["Asked"]["properties"]

    assert "type" not in properties["anything"]


def test_descriptions_are_the_docstrings():
    """Without their indentation."""
    assert Schemas([Asked], []).components["Asked"]["description"] == "First.\n\nSecond."


def test_several_kinds_are_alternatives():
    """One alone is not wrapped."""
    schemas = Schemas([], [Leaf, Sparse])
    leaf, sparse = ({"$ref": f"#/components/schemas/{name}"} for name in ("Leaf", "Sparse"))

    assert schemas.any_of([Leaf, Leaf]) == leaf
    assert schemas.any_of([Leaf, Sparse]) == {"anyOf": [leaf, sparse]}
