"""Which of a device's memory is given to whom, in units. Pure: it knows keys, sizes and places.

Who comes back is put where it was before, if that is free: what was recorded over its addresses, as
graphs, then holds again.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_REMEMBERED = 1024
"""Keys whose last places are known; some hundred bytes each."""

Extent = tuple[int, int]
"""From a first unit to behind a last one."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What one key was given: one extent, or one for each of its pieces, in their order.

    generation: a number that two places have in common only if key and extents are the same.
    """

    key: Hashable
    extents: tuple[Extent, ...]
    generation: int

    @property
    def num_units(self) -> int:
        return sum(end - start for start, end in self.extents)


class ArenaPlan:
    """Holes and places over so many units."""

    def __init__(self, num_units: int) -> None:
        self.num_units = num_units
        self._holes: list[Extent] = [(0, num_units)] if num_units else []
        self._given: set[Place] = set()
        self._last: OrderedDict[Hashable, Place] = OrderedDict()
        self._num_generations = 0

    @property
    def num_free(self) -> int:
        return sum(end - start for start, end in self._holes)

    @property
    def largest_hole(self) -> int:
        return max((end - start for start, end in self._holes), default=0)

    def take(self, key: Hashable, whole: int, pieces: Sequence[int] = ()) -> Place | None:
        """Room for so many units; None, and nothing changed, where there is none.

        Where the key was before; else in the smallest hole that holds it; else, in pieces of so many
        units each, each in the smallest hole that holds it, the largest first.
        """
        place = self._last.get(key)
        if place is None or _sizes(place) not in ([whole], [*pieces]) or not self._is_free(place):
            extents = self._together(whole) or self._apart(pieces)
            if extents is None:
                return None
            self._num_generations += 1
            place = Place(key, tuple(extents), self._num_generations)
        for extent in place.extents:
            self._holes = _without(self._holes, extent)
        self._given.add(place)
        self._remember(place)
        return place

    def free(self, place: Place) -> None:
        """It is nobody's any more."""
        self._given.remove(place)
        self._holes = _joined([*self._holes, *place.extents])

    def check(self) -> None:
        """Asserts that every unit is free or given, and nothing twice."""
        given = [extent for place in self._given for extent in place.extents]
        assert _joined([*self._holes, *given]) == ([(0, self.num_units)] if self.num_units else [])
        whole = sorted([*self._holes, *(each for each in given if each[0] < each[1])])
        assert all(one[1] <= other[0] for one, other in pairwise(whole))

    # --- helpers --------------------------------------------------------------------------------

    def _is_free(self, place: Place) -> bool:
        return place not in self._given and all(
            any(start <= first and last <= end for start, end in self._holes)
            for first, last in place.extents
        )

    def _together(self, whole: int) -> list[Extent] | None:
        start = _best(self._holes, whole)
        return None if start is None else [(start, start + whole)]

    def _apart(self, pieces: Sequence[int]) -> list[Extent] | None:
        if not pieces:
            return None
        holes = list(self._holes)
        extents: list[Extent] = [(0, 0)] * len(pieces)
        for number in sorted(range(len(pieces)), key=lambda each: -pieces[each]):
            start = _best(holes, pieces[number])
            if start is None:
                return None
            extents[number] = start, start + pieces[number]
            holes = _without(holes, extents[number])
        return extents

    def _remember(self, place: Place) -> None:
        self._last[place.key] = place
        self._last.move_to_end(place.key)
        while len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)


def _sizes(place: Place) -> list[int]:
    return [end - start for start, end in place.extents]


def _best(holes: Sequence[Extent], size: int) -> int | None:
    """Where the smallest hole of at least so many units begins; nothing fits anywhere."""
    if size == 0:
        return 0
    fitting = [(end - start, start) for start, end in holes if end - start >= size]
    return min(fitting)[1] if fitting else None


def _without(holes: Sequence[Extent], extent: Extent) -> list[Extent]:
    first, last = extent
    found: list[Extent] = []
    for start, end in holes:
        if start <= first and last <= end:
            found += [(start, first), (last, end)]
        else:
            found.append((start, end))
    return [(start, end) for start, end in found if start < end]


def _joined(extents: Sequence[Extent]) -> list[Extent]:
    """In order, neighbours as one."""
    found: list[Extent] = []
    for start, end in sorted(extents):
        if start == end:
            continue
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return found
