"""What a cache would hold, as plain values: each place knows the tokens that led to it."""

from collections.abc import Iterable

from engine.cache.table import BlockTable
from engine.core.plan import BatchPlan, Chunk


class Contents:
    """Computes plans as a model would, and asserts that whatever it reads is what belongs there.

    A token's place and a state's slot hold the salt and all tokens up to it, as those of a model
    depend on nothing else.
    """

    def __init__(self, block_size: int, *, keeps_tokens: bool, keeps_states: bool) -> None:
        self._block_size = block_size
        self._keeps_tokens, self._keeps_states = keeps_tokens, keeps_states
        self._places: dict[int, tuple[bytes, list[int]]] = {}
        self._slots: dict[int, tuple[bytes, list[int]]] = {}

    def compute(self, plan: BatchPlan) -> None:
        """All reads of states come before all writes, as in a step they may."""
        if self._keeps_states:
            for chunk in plan.chunks:
                self._assert_state(chunk)
            writes = [chunk.sequence.table.state_write for chunk in plan.chunks]
            assert None not in writes
            assert len(set(writes)) == len(writes), "two sequences write to one slot"
            for chunk in plan.chunks:
                self._slots[chunk.sequence.table.state_write] = self.past(chunk, chunk.end)
        if self._keeps_tokens:
            for chunk in plan.chunks:
                self._append(chunk)
            for chunk in plan.chunks:
                self._assert_tokens(chunk)

    def spoil(self, plan: BatchPlan) -> None:
        """A step that failed somewhere may have left anything where it was to write."""
        for chunk in plan.chunks:
            self._slots.pop(chunk.sequence.table.state_write, None)
            for position in range(chunk.start, chunk.end) if self._keeps_tokens else ():
                self._places.pop(self._place(chunk.sequence.table, position), None)

    def forget(self, blocks: Iterable[int], slots: Iterable[int]) -> None:
        """What was in these is gone."""
        for slot in slots:
            self._slots.pop(slot, None)
        for block in blocks:
            for place in range(block * self._block_size, (block + 1) * self._block_size):
                self._places.pop(place, None)

    def _assert_state(self, chunk: Chunk) -> None:
        read = chunk.sequence.table.state_read
        if chunk.start == 0:
            assert read is None, "a sequence that begins has no state"
        else:
            assert read is not None
            assert self._slots.get(read) == self.past(chunk, chunk.start)

    def _append(self, chunk: Chunk) -> None:
        for position in range(chunk.start, chunk.end):
            place = self._place(chunk.sequence.table, position)
            self._places[place] = self.past(chunk, position + 1)

    def _assert_tokens(self, chunk: Chunk) -> None:
        for position in range(chunk.end):
            place = self._place(chunk.sequence.table, position)
            assert self._places.get(place) == self.past(chunk, position + 1)

    def _place(self, table: BlockTable, position: int) -> int:
        block = table.blocks[position // self._block_size]
        return block * self._block_size + position % self._block_size

    def past(self, chunk: Chunk, end: int) -> tuple[bytes, list[int]]:
        """What leads to the first `end` tokens."""
        tokens = [*chunk.sequence.token_ids, *chunk.draft]
        return chunk.sequence.table.salt, tokens[:end]
