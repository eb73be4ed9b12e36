"""Where the values of a program lie in memory: those that live at one time lie apart."""

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A value of `num_bytes`, written by the step of index `first` and last read by `last`."""

    first: int
    last: int
    num_bytes: int


def place(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """A place for each value, in bytes from the start, and the bytes of all of it.

    Each takes the lowest gap that is wide enough among those alive with it, in order of birth.
    """
    places = [0] * len(lifetimes)
    alive: list[tuple[int, int, int]] = []  # place, end, last
    total = 0
    for index in sorted(range(len(lifetimes)), key=lambda each: lifetimes[each].first):
        wanted = lifetimes[index]
        alive = sorted(each for each in alive if each[2] >= wanted.first)
        size = -(-wanted.num_bytes // ALIGNMENT) * ALIGNMENT
        places[index] = _lowest_gap(alive, size)
        alive.append((places[index], places[index] + size, wanted.last))
        total = max(total, places[index] + size)
    return places, total


def _lowest_gap(alive: Sequence[tuple[int, int, int]], size: int) -> int:
    start = 0
    for taken, end, _ in alive:
        if taken - start >= size:
            return start
        start = max(start, end)
    return start
