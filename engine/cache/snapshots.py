"""Where a sequence's state is worth keeping beyond its next step. Pure, and only about numbers."""

from collections import OrderedDict
from collections.abc import Sequence

SPARSE_TOKENS = 512
"""A long prompt's state is kept at this many tokens, and at twice, four times ... as many."""

SEEN_BLOCKS = 2**14
"""So many blocks of earlier prompts are remembered by name: 16 bytes and their keeping each."""


class SeenPrompts:
    """The beginnings that earlier prompts had, the longest unused forgotten first."""

    def __init__(self, max_blocks: int = SEEN_BLOCKS) -> None:
        self._max_blocks = max_blocks
        self._names: OrderedDict[bytes, None] = OrderedDict()

    def num_shared(self, names: Sequence[bytes]) -> int:
        """How many of a prompt's first blocks an earlier one began with."""
        places = range(len(names), 0, -1)
        return next((place for place in places if names[place - 1] in self._names), 0)

    def add(self, names: Sequence[bytes]) -> None:
        for name in reversed(names):  # beginnings are what others share: they are forgotten last
            self._names[name] = None
            self._names.move_to_end(name)
        while len(self._names) > self._max_blocks:
            self._names.popitem(last=False)


def prompt_stops(num_blocks: int, num_shared: int, block_size: int) -> frozenset[int]:
    """After how many tokens of a prompt of `num_blocks` full blocks its state is kept.

    At its last block, for whoever sends it again. Where it parts from an earlier prompt, after
    `num_shared` blocks, for the next that begins so. And ever more sparsely on the way, so that
    whoever parts elsewhere resumes no earlier than halfway, at the price of few snapshots.
    """
    length = num_blocks * block_size
    stops = {length, num_shared * block_size}
    sparse = SPARSE_TOKENS
    while sparse < length:
        stops.add(sparse // block_size * block_size)
        sparse *= 2
    return frozenset(stops - {0})
