"""What a sequence holds of the cache."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.cache.prefix import chain_hash, root_hash


@dataclass(slots=True, eq=False)
class BlockTable:
    """A sequence's blocks in order, and its state's slots. Only the manager changes it.

    names: chain hashes of its tokens' full blocks, as far as they were asked for.
    num_named: how many of the first blocks are full and have been offered for sharing.
    state_read, state_write: the slots that its next step reads the state from and leaves it in;
    it reads none where it begins.
    stops, num_known: where its state is to be kept, as `SnapshotPlan` says.
    """

    salt: bytes = b""
    blocks: list[int] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    num_named: int = 0
    state_read: int | None = None
    state_write: int | None = None
    stops: frozenset[int] = frozenset()
    num_known: int = 0

    @property
    def slots(self) -> set[int]:
        """Those it holds, once each."""
        return {slot for slot in (self.state_read, self.state_write) if slot is not None}

    def name(self, token_ids: Sequence[int], num_blocks: int, block_size: int) -> None:
        """Works out the names of the first blocks, those that are not known yet."""
        for position in range(len(self.names), num_blocks):
            parent = self.names[-1] if self.names else root_hash(self.salt)
            tokens = token_ids[position * block_size : (position + 1) * block_size]
            self.names.append(chain_hash(parent, tokens))
