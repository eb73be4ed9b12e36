"""Chained block hashes and the index over them."""

import pytest

from engine.cache.prefix import ROOT, PrefixIndex, chain_hash, root_hash


def test_a_hash_covers_everything_before_it():
    """Equal blocks behind different beginnings are different."""
    one, other = chain_hash(ROOT, [1, 2]), chain_hash(ROOT, [1, 3])

    assert chain_hash(one, [7, 8]) == chain_hash(chain_hash(ROOT, [1, 2]), [7, 8])
    assert chain_hash(one, [7, 8]) != chain_hash(other, [7, 8])


def test_salts_share_nothing():
    """Tenants with different salts never meet."""
    assert len({root_hash(b""), root_hash(b"a"), root_hash(b"b")}) == 3


def test_the_first_block_of_a_name_keeps_it():
    """A second block with equal tokens stays unnamed."""
    index = PrefixIndex()
    index.add(b"x", 1)
    index.add(b"x", 2)

    assert index.find(b"x") == 1
    assert 2 not in index


def test_a_forgotten_block_is_found_no_more():
    """An overwritten block must not be offered."""
    index = PrefixIndex()
    index.add(b"x", 1)
    index.forget(1)

    assert index.find(b"x") is None
    assert 1 not in index


def test_check_finds_a_name_on_a_blank_block():
    """A blank block that still has a name would be shared with wrong contents."""
    index = PrefixIndex()
    index.add(b"x", 1)

    index.check([2])
    with pytest.raises(AssertionError):
        index.check([1])
