"""All that a model's layers keep of its sequences."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.cache.manager import CacheManager
from engine.cache.pages import Span, give_back_rows, spans_of
from engine.cache.spec import CacheSpec
from engine.cache.states import SlottedState
from engine.cache.views import CacheSize, CacheView, allocate, parts_of, state_bytes, view_of


class Slab(Protocol):
    """A device's memory that caches lie in."""

    def free(self) -> None:
        """It is others' from now on."""


@dataclass(frozen=True, slots=True, eq=False)
class Caches:
    """The layers' tensors, and who has which of their blocks and slots.

    slab: of those on a device; in memory that the system gives page by page, None.
    """

    views: Sequence[CacheView]
    manager: CacheManager
    slab: Slab | None = None

    @classmethod
    def of(cls, specs: Sequence[CacheSpec], size: CacheSize, dtype: torch.dtype) -> "Caches":
        """Empty ones. Raises the allocator's errors."""
        views = [allocate(spec, size, dtype) for spec in specs]
        return cls(views, CacheManager(size.num_blocks, size.block_size, size.num_slots))

    @classmethod
    def over(
        cls,
        specs: Sequence[CacheSpec],
        size: CacheSize,
        dtype: torch.dtype,
        slab: Slab,
        tensors: Sequence[Tensor],
    ) -> "Caches":
        """Empty ones over these tensors of any content, which are as `shapes_of` says."""
        given = iter(tensors)
        views = [view_of(spec, size, dtype, lambda *_: next(given)) for spec in specs]
        return cls(views, CacheManager(size.num_blocks, size.block_size, size.num_slots), slab)

    @property
    def state_bytes(self) -> int:
        return sum(state_bytes(view) for view in self.views)

    @property
    def token_bytes(self) -> int:
        return sum(view.nbytes for view in self.views) - self.state_bytes

    def trim(self) -> int:
        """Gives back the memory of blank blocks and slots; the bytes that the rest may take.

        Exact to a page at each end of a stretch of blocks, once all of them were written. Nothing
        may run on the caches meanwhile.
        """
        return self._give_back(self.manager.blank_blocks, self.manager.blank_slots)

    def discard(self) -> None:
        """Gives all memory back, of caches that nobody will use.

        To drop the last reference does so, too, but holds up the interpreter until it is done.
        """
        if self.slab is None:
            self._give_back(range(self.manager.num_blocks), range(self.manager.num_slots))
        else:
            self.slab.free()

    def used_rows(self) -> Iterator[tuple[Tensor, list[Span]]]:
        """Of each tensor those of its rows that mean something."""
        blocks = set(range(self.manager.num_blocks)) - {*self.manager.blank_blocks}
        slots = set(range(self.manager.num_slots)) - {*self.manager.blank_slots}
        return self._rows(spans_of(blocks), spans_of(slots))

    def _give_back(self, blocks: Collection[int], slots: Collection[int]) -> int:
        rows = self._rows(spans_of(blocks), spans_of(slots))
        return sum(give_back_rows(tensor, spans) for tensor, spans in rows)

    def _rows(self, blocks: list[Span], slots: list[Span]) -> Iterator[tuple[Tensor, list[Span]]]:
        for part in (part for view in self.views for part in parts_of(view)):
            spans = slots if isinstance(part, SlottedState) else blocks
            yield from ((tensor, spans) for tensor in part.tensors)
