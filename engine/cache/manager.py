"""Blocks and state slots for sequences, shared where their tokens begin alike. No tensors."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

from engine.cache.blocks import BlockPool
from engine.cache.prefix import PrefixIndex
from engine.cache.slots import StateSlots
from engine.cache.snapshots import SeenPrompts, prompt_stops
from engine.cache.table import BlockTable


@dataclass(frozen=True, slots=True)
class Prefix:
    """A beginning that need not be computed again: so many tokens, in these blocks.

    snapshot: the name of their state, if the model has one.
    """

    num_tokens: int = 0
    blocks: tuple[int, ...] = ()
    snapshot: bytes | None = None


NO_PREFIX = Prefix()


class CacheManager:
    """Who holds which block and slot, and what a new sequence may share of them.

    num_blocks: 0 if no layer keeps anything of a token; sequences of any length fit then.
    num_slots: 0 if no layer has a state.
    """

    def __init__(self, num_blocks: int, block_size: int, num_slots: int = 0) -> None:
        self.block_size = block_size
        self._index = PrefixIndex()
        self._pool = BlockPool(num_blocks, on_evict=self._index.forget)
        self._slots = StateSlots(num_slots)
        self._seen = SeenPrompts()
        self._tables: set[BlockTable] = set()

    @property
    def num_blocks(self) -> int:
        return self._pool.num_blocks

    @property
    def num_slots(self) -> int:
        return self._slots.num_slots

    @property
    def num_free(self) -> int:
        """Blocks that no sequence holds, those kept for reuse among them."""
        return self._pool.num_free

    @property
    def num_free_slots(self) -> int:
        """Slots that no sequence holds, snapshots among them."""
        return self._slots.num_free

    @property
    def blank_blocks(self) -> Collection[int]:
        """Those whose contents mean nothing."""
        return self._pool.blanks

    @property
    def blank_slots(self) -> Collection[int]:
        """Those whose contents mean nothing."""
        return self._slots.blanks

    @property
    def is_blank(self) -> bool:
        """Nothing is held, and nothing kept for reuse."""
        used = self.num_blocks - len(self.blank_blocks)
        return not used and len(self.blank_slots) == self._slots.num_slots

    @property
    def num_tables(self) -> int:
        """Sequences that hold anything."""
        return len(self._tables)

    def holds(self, table: BlockTable) -> bool:
        return table in self._tables

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size) if self.num_blocks else 0

    def reusable(self, table: BlockTable, token_ids: Sequence[int]) -> Prefix:
        """The longest beginning of these tokens that all kinds of layers have.

        Never all of the tokens: the last must be computed, since its logits are wanted.
        """
        if not self.num_blocks and not self._slots.num_slots:
            return NO_PREFIX  # nothing is kept of anything
        names = self._names(table, token_ids)
        blocks = self._blocks_of(names)
        count = len(blocks) if self.num_blocks else len(names)
        if not self._slots.num_slots:
            return Prefix(count * self.block_size, tuple(blocks))
        count = self._slots.longest(names[:count])
        snapshot = names[count - 1] if count else None
        return Prefix(count * self.block_size, tuple(blocks[:count]), snapshot)

    def can_reserve(self, num_tokens: int, prefix: Prefix = NO_PREFIX, spare: int = 0) -> bool:
        """Whether a new table of `num_tokens`, so begun, would leave `spare` blocks free."""
        if self._slots.num_slots and not self._slots.num_free:
            return False
        if not self.num_blocks:
            return True
        taken = self.blocks_for(num_tokens) - len(prefix.blocks)
        taken += sum(not self._pool.is_held(block) for block in prefix.blocks)
        return taken + spare <= self._pool.num_free

    def reserve(
        self, table: BlockTable, token_ids: Sequence[int], prefix: Prefix = NO_PREFIX
    ) -> bool:
        """Grows a table to hold these tokens; False, and nothing changed, if there is no room.

        prefix: what `reusable` has just given; only for an empty table.
        """
        if table not in self._tables:
            if not self.can_reserve(len(token_ids), prefix):
                return False
            self._begin(table, token_ids, prefix)
        if len(token_ids) > self.room_for(table):
            return False
        self.grow(table, len(token_ids))
        return True

    def room_for(self, table: BlockTable) -> float:
        """The most tokens that a table can hold with what is free."""
        if not self.num_blocks:
            return inf
        return (len(table.blocks) + self._pool.num_free) * self.block_size

    def grow(self, table: BlockTable, num_tokens: int) -> None:
        """Takes what is missing for so many tokens; there must be room for them."""
        missing = self.blocks_for(num_tokens) - len(table.blocks)
        table.blocks += [self._pool.take() for _ in range(missing)]

    def shrink(self, table: BlockTable, num_tokens: int) -> None:
        """Gives back the blocks behind so many tokens, of which none may be shared yet."""
        count = max(self.blocks_for(num_tokens), table.num_named)
        for block in reversed(table.blocks[count:]):
            self._pool.release(block, keep=False)
        del table.blocks[count:]

    def max_chunk(self, table: BlockTable, num_computed: int, limit: int) -> int:
        """How many tokens to compute next: `limit`, or fewer to end where the state is kept."""
        ahead = (stop - num_computed for stop in table.stops if stop > num_computed)
        return min([limit, *ahead])

    def commit(
        self,
        table: BlockTable,
        token_ids: Sequence[int],
        num_computed: int,
        *,
        goes_on: bool = True,
        spare: int = 0,
    ) -> None:
        """The first `num_computed` tokens are in the cache now: full blocks and states are shared.

        goes_on: the sequence has not ended. spare: slots that no snapshot may take, for newcomers.
        """
        table.name(token_ids, num_computed // self.block_size, self.block_size)
        self._share_blocks(table, num_computed // self.block_size)
        if self._slots.num_slots:
            self._slots.advance(table)
            self._share_state(table, token_ids, num_computed, goes_on=goes_on, spare=spare)

    def go_on(
        self, table: BlockTable, token_ids: Sequence[int], num_computed: int, *, spare: int
    ) -> None:
        """The first `num_computed` tokens are being computed: what comes next may be planned.

        Nothing is shared until `share`. spare: as of `commit`.
        """
        if not self._slots.num_slots:
            return
        self._slots.advance(table)
        if name := self._snapshot_name(table, token_ids, num_computed):
            self._slots.leave(table, name, spare)

    def share(self, table: BlockTable, token_ids: Sequence[int], num_computed: int) -> None:
        """What `go_on` was told has come true: full blocks and states are shared."""
        table.name(token_ids, num_computed // self.block_size, self.block_size)
        self._share_blocks(table, num_computed // self.block_size)
        if self._slots.num_slots and (name := self._snapshot_name(table, token_ids, num_computed)):
            is_rolling = self._is_rolling(table, num_computed)
            self._slots.name_left(table, name, is_rolling=is_rolling)

    def release(self, table: BlockTable) -> None:
        """Gives up all that a table holds. The last blocks go first: prefixes live longest."""
        for block in reversed(table.blocks):
            self._pool.release(block, keep=block in self._index)
        table.blocks, table.num_named, table.stops = [], 0, frozenset()
        self._slots.release(table)
        self._tables.discard(table)

    def change_salt(self, table: BlockTable, salt: bytes) -> None:
        """Gives up all that a table holds; what it computes from now on is shared by other names."""
        self.release(table)
        table.salt, table.names = salt, []

    def check(self) -> None:
        """Asserts that every block and slot is accounted for. Cheap enough for idle moments."""
        self._pool.check(block for table in self._tables for block in table.blocks)
        self._index.check(self._pool.blanks)
        self._slots.check(self._tables)

    # --- helpers --------------------------------------------------------------------------------

    def _names(self, table: BlockTable, token_ids: Sequence[int]) -> list[bytes]:
        """Of the full blocks that leave at least one token to compute."""
        num_blocks = (len(token_ids) - 1) // self.block_size
        table.name(token_ids, num_blocks, self.block_size)
        return table.names[:num_blocks]

    def _blocks_of(self, names: Sequence[bytes]) -> list[int]:
        """The blocks of that name, up to the first that is not there."""
        found: list[int] = []
        for name in names:
            block = self._index.find(name)
            if block is None:
                break
            found.append(block)
        return found

    def _begin(self, table: BlockTable, token_ids: Sequence[int], prefix: Prefix) -> None:
        self._tables.add(table)
        for block in prefix.blocks:
            self._pool.share(block)
        table.blocks, table.num_named = list(prefix.blocks), len(prefix.blocks)
        if self._slots.num_slots:
            self._slots.begin(table, prefix.snapshot)
            self._plan_snapshots(table, token_ids)

    def _plan_snapshots(self, table: BlockTable, token_ids: Sequence[int]) -> None:
        table.num_known = len(token_ids)
        if self._slots.num_slots > 1:  # one that is written to leaves none to keep
            names = self._names(table, token_ids)
            table.stops = prompt_stops(len(names), self._seen.num_shared(names), self.block_size)
            self._seen.add(names)

    def _share_blocks(self, table: BlockTable, num_full: int) -> None:
        for place in range(table.num_named, num_full if self.num_blocks else 0):
            self._index.add(table.names[place], table.blocks[place])
            table.num_named += 1

    def _share_state(
        self,
        table: BlockTable,
        token_ids: Sequence[int],
        num_computed: int,
        *,
        goes_on: bool,
        spare: int,
    ) -> None:
        if name := self._snapshot_name(table, token_ids, num_computed):
            is_rolling = self._is_rolling(table, num_computed)
            self._slots.keep(table, name, is_rolling=is_rolling, goes_on=goes_on, spare=spare)

    def _snapshot_name(
        self, table: BlockTable, token_ids: Sequence[int], num_computed: int
    ) -> bytes | None:
        """Of the state after so many tokens, if it is to be kept."""
        if not self._is_rolling(table, num_computed) and num_computed not in table.stops:
            return None
        num_blocks = num_computed // self.block_size
        table.name(token_ids, num_blocks, self.block_size)
        return table.names[num_blocks - 1]

    def _is_rolling(self, table: BlockTable, num_computed: int) -> bool:
        """Whether a generation is at the end of a block."""
        return num_computed >= table.num_known and not num_computed % self.block_size
