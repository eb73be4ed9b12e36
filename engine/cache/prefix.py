"""Finds blocks by the tokens they hold and all tokens before them."""

import hashlib
from array import array
from collections.abc import Collection, Sequence

ROOT = b""


def chain_hash(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """The name of a full block: its tokens, chained to the block before it.

    Cryptographic, because a collision that a client could construct would show it another's text.
    """
    return hashlib.blake2b(parent + array("q", token_ids).tobytes(), digest_size=16).digest()


def root_hash(salt: bytes) -> bytes:
    """Where a chain begins. Different salts share nothing."""
    return hashlib.blake2b(salt, digest_size=16).digest() if salt else ROOT


class PrefixIndex:
    """Full blocks by chain hash. A hash names one block; a block has at most one hash."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, int] = {}
        self._hashes: dict[int, bytes] = {}

    def __contains__(self, block: int) -> bool:
        return block in self._hashes

    def add(self, chain: bytes, block: int) -> None:
        """Names a block, unless an equal one already has the name."""
        if chain not in self._blocks and block not in self._hashes:
            self._blocks[chain] = block
            self._hashes[block] = chain

    def forget(self, block: int) -> None:
        del self._blocks[self._hashes.pop(block)]

    def find(self, chain: bytes) -> int | None:
        return self._blocks.get(chain)

    def hash_of(self, block: int) -> bytes:
        return self._hashes[block]

    def check(self, blanks: Collection[int]) -> None:
        """Asserts that both directions agree and that no blank block has a name."""
        assert {chain: block for block, chain in self._hashes.items()} == self._blocks
        assert not set(blanks) & set(self._hashes), "a blank block has a name"
