"""Which of the weights that nobody uses stay in memory: pure, the least recently used go first."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WarmBudget:
    """Bytes for all, and for those among them that the system cannot drop by itself."""

    total_bytes: int
    unreclaimable_bytes: int


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """is_reclaimable: pages of a file, which the system may take when others need the memory."""

    item: T
    nbytes: int
    is_reclaimable: bool


@dataclass(slots=True)
class Warm(Generic[T]):
    """By key, within a budget. Holds no lock."""

    budget: WarmBudget
    _kept: OrderedDict[str, Kept[T]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        return sum(kept.nbytes for kept in self._kept.values())

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each, by key."""
        return {key: kept.nbytes for key, kept in self._kept.items()}

    def take(self, key: str) -> T | None:
        """No longer kept here."""
        kept = self._kept.pop(key, None)
        return None if kept is None else kept.item

    def put(self, key: str, kept: Kept[T]) -> list[T]:
        """What has to go for it: itself, where it would not fit alone."""
        if not self._fits([kept]):
            return [kept.item]
        gone = [] if (old := self.take(key)) is None else [old]
        self._kept[key] = kept
        while not self._fits(list(self._kept.values())):
            gone.append(self._kept.pop(self._victim()).item)
        return gone

    def _fits(self, all_kept: list[Kept[T]]) -> bool:
        unreclaimable = (kept.nbytes for kept in all_kept if not kept.is_reclaimable)
        return (
            sum(kept.nbytes for kept in all_kept) <= self.budget.total_bytes
            and sum(unreclaimable) <= self.budget.unreclaimable_bytes
        )

    def _victim(self) -> str:
        """The one used longest ago; of those in memory alone, where only these are too many."""
        if self.nbytes > self.budget.total_bytes:
            return next(iter(self._kept))
        return next(key for key, kept in self._kept.items() if not kept.is_reclaimable)
