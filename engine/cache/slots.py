"""Slots for the states of recurrent layers, and the states kept in them for reuse."""

from collections.abc import Iterable, Sequence

from engine.cache.blocks import BlockPool
from engine.cache.prefix import PrefixIndex
from engine.cache.table import BlockTable


class StateSlots:
    """Who holds which slot, and which of them keep a snapshot: the state after a named block.

    A slot is to states what a block is to tokens: held, or kept under a name, or blank. A step
    may read from one slot and write to another, so a state is kept by going on elsewhere, and
    nothing is copied. A slot that has a name is never written to.

    A rolling snapshot is the newest of a sequence that generates. It gives way to the next one,
    unless somebody has used it: then it stays, as all others do, until slots run out.
    """

    def __init__(self, num_slots: int) -> None:
        self._index = PrefixIndex()
        self._pool = BlockPool(num_slots, on_evict=self._forget)
        self._rolling: dict[int, BlockTable] = {}

    @property
    def num_slots(self) -> int:
        return self._pool.num_blocks

    @property
    def num_free(self) -> int:
        """Slots that no sequence holds, snapshots among them."""
        return self._pool.num_free

    @property
    def blanks(self) -> Sequence[int]:
        """Slots that hold no state of anybody."""
        return self._pool.blanks

    def longest(self, names: Sequence[bytes]) -> int:
        """After how many of these blocks, at most, the state is kept."""
        places = range(len(names), 0, -1)
        return next((p for p in places if self._index.find(names[p - 1]) is not None), 0)

    def begin(self, table: BlockTable, snapshot: bytes | None) -> None:
        """Gives a table a slot to write to, and one to read from if it resumes. One must be free.

        If the snapshot's is the last free one, it becomes the table's own and no longer has a name.
        """
        slot = None if snapshot is None else self._index.find(snapshot)
        if slot is not None:
            self._pool.share(slot)
            self._rolling.pop(slot, None)  # it proved useful
        table.state_read = slot
        if slot is not None and not self._pool.num_free:
            self._forget(slot)
            table.state_write = slot
        else:
            table.state_write = self._pool.take()

    def advance(self, table: BlockTable) -> None:
        """A step was computed: the state is where it was written, and goes on there."""
        if table.state_read is not None and table.state_read != table.state_write:
            self._pool.release(table.state_read, keep=table.state_read in self._index)
        table.state_read = table.state_write

    def keep(
        self, table: BlockTable, name: bytes, *, is_rolling: bool, goes_on: bool, spare: int
    ) -> None:
        """Makes a snapshot of a table's state, if slots allow it and none has that name.

        goes_on: the table's next step needs another slot; then `spare` slots stay free besides.
        """
        slot = table.state_write
        assert slot is not None, "only what has a state is kept"
        if self._index.find(name) is not None or (goes_on and self._pool.num_free <= spare):
            return
        if is_rolling:
            self._drop_rolling(table)
            self._rolling[slot] = table
        self._index.add(name, slot)
        if goes_on:
            table.state_write = self._pool.take()

    def leave(self, table: BlockTable, name: bytes, spare: int) -> None:
        """Has a table's next step write elsewhere, as `keep` would, so that its state may be named later."""
        if self._index.find(name) is None and self._pool.num_free > spare:
            table.state_write = self._pool.take()

    def name_left(self, table: BlockTable, name: bytes, *, is_rolling: bool) -> None:
        """Makes a snapshot of what `leave` has left, unless it left nothing or another has that name."""
        slot = table.state_read
        if slot is None or slot == table.state_write or self._index.find(name) is not None:
            return
        if is_rolling:
            self._drop_rolling(table)
            self._rolling[slot] = table
        self._index.add(name, slot)

    def release(self, table: BlockTable) -> None:
        """Gives up a table's slots. Its snapshots stay."""
        for slot in table.slots:
            self._pool.release(slot, keep=slot in self._index)
        table.state_read = table.state_write = None
        self._rolling = {slot: of for slot, of in self._rolling.items() if of is not table}

    def check(self, tables: Iterable[BlockTable]) -> None:
        """Asserts that every slot is accounted for, and that no snapshot is about to be written."""
        tables = list(tables)
        self._pool.check(slot for table in tables for slot in table.slots)
        self._index.check(self._pool.blanks)
        writes = {table.state_write for table in tables}
        assert not any(slot in self._index for slot in writes if slot is not None)
        assert all(slot in self._index for slot in self._rolling), "a rolling one has no name"
        assert len(set(self._rolling.values())) == len(self._rolling), "a table rolls two"

    def _drop_rolling(self, table: BlockTable) -> None:
        for slot in [slot for slot, of in self._rolling.items() if of is table]:
            self._forget(slot)
            self._pool.blank(slot)

    def _forget(self, slot: int) -> None:
        self._index.forget(slot)
        self._rolling.pop(slot, None)
