"""Where models can lie: on one device, or on several of which each holds an equal share."""

from collections.abc import Iterable, Sequence

from gateway.pool.terms import Terms

Place = tuple[str, ...]
"""Devices that hold a model together, nearly always one. The first speaks for all to the engine."""


def name_of(place: Place) -> str:
    """For people: cpu:0, or cpu:0+cpu:1."""
    return "+".join(place)


def places_for(devices: Iterable[str], groups: Sequence[Place], terms: Terms) -> list[Place]:
    """Where a model may go on these terms; a larger place is only for what no smaller one holds.

    groups: those that may hold a model together; nothing is spread over any others.
    """
    allowed = [name for name in devices if not terms.devices or name in terms.devices]
    places: list[Place] = [(name,) for name in allowed]
    places += [group for group in groups if set(group) <= set(allowed)]
    size = terms.tensor_parallel
    if size is None:
        return places
    if size == len(terms.devices) == len(allowed) > 1 and terms.devices not in places:
        places.append(terms.devices)
    return [place for place in places if len(place) == size]
