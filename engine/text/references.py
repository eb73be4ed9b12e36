"""References of a JSON schema to places in itself."""

import json
from collections.abc import Iterator
from typing import Any


def empty_circle(schema_text: str) -> str | None:
    """A `$ref` that leads back to itself by references alone, so that it says nothing.

    One with anything between, such as a tree's children, is a circle that ends in every value.
    """
    schema = json.loads(schema_text)
    for node in _objects(schema):
        seen: set[str] = set()
        place: Any = node
        while isinstance(place, dict) and isinstance(reference := place.get("$ref"), str):
            if reference in seen:
                return reference
            seen.add(reference)
            place = _at(schema, reference)
    return None


def _objects(root: Any) -> Iterator[dict[str, Any]]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _at(schema: Any, reference: str) -> Any:
    """What a JSON pointer (RFC 6901) after `#` points to; None for any other reference."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    place = schema
    for step in reference.split("/")[1:]:
        if not isinstance(place, dict):
            return None
        place = place.get(step.replace("~1", "/").replace("~0", "~"))
    return place
