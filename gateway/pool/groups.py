"""Which models may be resident together, whatever room there is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """Models, by id, with a rule about their company.

    at_most: so many of them are resident at once, on all devices together; None for no limit.
    is_alone: while one of them is resident, nothing outside the group is.
    """

    name: str
    models: frozenset[str]
    at_most: int | None = None
    is_alone: bool = False


class Groups:
    """The rules of all groups, asked about one newcomer at a time."""

    def __init__(self, groups: Sequence[Group] = ()) -> None:
        self._alone = [group for group in groups if group.is_alone]
        self._limited = [group for group in groups if group.at_most is not None]

    def exclude(self, one: str, other: str) -> bool:
        """Whether the two may never be resident together."""
        return any((one in group.models) != (other in group.models) for group in self._alone)

    def crowds(self, newcomer: str, others: Iterable[str]) -> list[tuple[frozenset[str], int]]:
        """Each group that the newcomer would overfill: its models, and how many have to go."""
        present = list(others)
        crowds = []
        for group in self._limited:
            if newcomer in group.models and group.at_most is not None:
                excess = sum(other in group.models for other in present) + 1 - group.at_most
                if excess > 0:
                    crowds.append((group.models, excess))
        return crowds

    def admit(self, newcomer: str, others: Iterable[str]) -> bool:
        """Whether the newcomer may join the others as they are."""
        present = list(others)
        if any(self.exclude(newcomer, other) for other in present):
            return False
        return not self.crowds(newcomer, present)
