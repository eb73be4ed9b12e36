"""All that a model's layers keep of its sequences."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.cache.manager import CacheManager
from engine.cache.pages import Span, give_back_rows, spans_of
from engine.cache.spec import CacheSpec
from engine.cache.states import SlottedState, TokensAndState
from engine.cache.views import CacheSize, CacheView, allocate, state_bytes


@dataclass(frozen=True, slots=True, eq=False)
class Caches:
    """The layers' tensors, and who has which of their blocks and slots."""

    views: Sequence[CacheView]
    manager: CacheManager

    @classmethod
    def of(cls, specs: Sequence[CacheSpec], size: CacheSize, dtype: torch.dtype) -> "Caches":
        """Empty ones. Raises the allocator's errors."""
        views = [allocate(spec, size, dtype) for spec in specs]
        return cls(views, CacheManager(size.num_blocks, size.block_size, size.num_slots))

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
        blocks, slots = spans_of(self.manager.blank_blocks), spans_of(self.manager.blank_slots)
        return sum(_give_back(view, blocks, slots) for view in self.views)

    def discard(self) -> None:
        """Gives all memory back, of caches that nobody will use.

        To drop the last reference does so, too, but holds up the interpreter until it is done.
        """
        blocks, slots = [(0, self.manager.num_blocks)], [(0, self.manager.num_slots)]
        for view in self.views:
            _give_back(view, blocks, slots)


def _give_back(view: CacheView, blocks: Sequence[Span], slots: Sequence[Span]) -> int:
    if isinstance(view, TokensAndState):
        return _give_back(view.tokens, blocks, slots) + _give_back(view.state, blocks, slots)
    rows = slots if isinstance(view, SlottedState) else blocks
    return sum(give_back_rows(tensor, rows) for tensor in view.tensors)
