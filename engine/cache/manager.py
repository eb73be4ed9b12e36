"""Blocks for sequences, shared where their tokens begin alike. Pure bookkeeping, no tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.cache.blocks import BlockPool
from engine.cache.prefix import ROOT, PrefixIndex, chain_hash, root_hash


@dataclass(slots=True, eq=False)
class BlockTable:
    """A sequence's blocks in order. Only the manager changes it.

    num_named: how many of the first blocks are full and have been offered for sharing.
    chain: the chain hash of the last of those.
    """

    salt: bytes = b""
    blocks: list[int] = field(default_factory=list)
    num_named: int = 0
    chain: bytes = ROOT

    def __post_init__(self) -> None:
        self.chain = root_hash(self.salt)


class CacheManager:
    """Who holds which block, and which full blocks a new sequence may share."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self._index = PrefixIndex()
        self._pool = BlockPool(num_blocks, on_evict=self._index.forget)
        self._tables: set[BlockTable] = set()

    @property
    def num_blocks(self) -> int:
        return self._pool.num_blocks

    @property
    def num_free(self) -> int:
        """Blocks that no sequence holds, those kept for reuse among them."""
        return self._pool.num_free

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def reusable(self, token_ids: Sequence[int], salt: bytes = b"") -> list[int]:
        """Blocks that already hold the beginning of these tokens, in order.

        Never all of the tokens: the last must be computed, since its logits are wanted.
        """
        size, chain = self.block_size, root_hash(salt)
        found: list[int] = []
        for start in range(0, len(token_ids) - size, size):
            chain = chain_hash(chain, token_ids[start : start + size])
            block = self._index.find(chain)
            if block is None:
                break
            found.append(block)
        return found

    def can_reserve(self, num_tokens: int, shared: Sequence[int] = (), spare: int = 0) -> bool:
        """Whether a new table of `num_tokens`, so shared, would leave `spare` blocks free."""
        taken = self.blocks_for(num_tokens) - len(shared)
        taken += sum(not self._pool.is_held(block) for block in shared)
        return taken + spare <= self._pool.num_free

    def reserve(self, table: BlockTable, num_tokens: int, shared: Sequence[int] = ()) -> bool:
        """Grows a table to hold `num_tokens`; False, and nothing changed, if blocks run out.

        shared: what `reusable` has just given; only for an empty table.
        """
        if not table.blocks:
            if not self.can_reserve(num_tokens, shared):
                return False
            self._adopt(table, shared)
        missing = self.blocks_for(num_tokens) - len(table.blocks)
        if missing > self._pool.num_free:
            return False
        table.blocks += [self._pool.take() for _ in range(missing)]
        self._tables.add(table)
        return True

    def _adopt(self, table: BlockTable, shared: Sequence[int]) -> None:
        for block in shared:
            self._pool.share(block)
        table.blocks = list(shared)
        table.num_named = len(shared)
        if shared:
            table.chain = self._index.hash_of(shared[-1])

    def commit(self, table: BlockTable, token_ids: Sequence[int], num_computed: int) -> None:
        """The first `num_computed` tokens are in the cache now; full blocks may be shared."""
        size = self.block_size
        for position in range(table.num_named, num_computed // size):
            tokens = token_ids[position * size : (position + 1) * size]
            table.chain = chain_hash(table.chain, tokens)
            self._index.add(table.chain, table.blocks[position])
            table.num_named += 1

    def release(self, table: BlockTable) -> None:
        """Gives up all of a table's blocks. The last go first, so that prefixes live longest."""
        for block in reversed(table.blocks):
            self._pool.release(block, keep=block in self._index)
        table.blocks, table.num_named, table.chain = [], 0, root_hash(table.salt)
        self._tables.discard(table)

    def check(self) -> None:
        """Asserts that every block is accounted for. Cheap enough for whenever there is no work."""
        self._pool.check(block for table in self._tables for block in table.blocks)
        self._index.check(self._pool.blanks)
