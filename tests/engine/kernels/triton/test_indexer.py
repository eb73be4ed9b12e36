"""Choosing tokens in Triton against the reference: in any order."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_indexer
from engine.kernels.triton import indexer
from engine.kernels.triton.indexer import choose_tokens
from tests.engine.kernels.triton.paged import BATCHES, cache_of, layout_of, randn, unbounded


def both(layout, top_k, heads=3, dim=24):
    """What the kernel and the reference choose, each row's in order."""
    keys = cache_of(layout, dim)
    q, weights = randn(len(layout.slots), heads, dim), randn(len(layout.slots), heads, seed=4)
    return tuple(
        choose(q, weights, keys, layout, top_k).sort(-1).values
        for choose in (choose_tokens, reference_indexer.choose_tokens)
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("top_k", [4, 64])
def test_the_best_are_chosen(batch, top_k):
    """Of those that a row sees; all of them where they are few."""
    found, expected = both(layout_of(*BATCHES[batch]), top_k)

    assert found.dtype == torch.int64
    assert torch.equal(found, expected)


def test_no_bound_is_needed_nor_room_for_all(monkeypatch):
    """Rows are taken in turns where there are too many for the memory."""
    monkeypatch.setattr(indexer, "SCORES_BYTES", 4 * 64 * 9)
    found, expected = both(unbounded(layout_of(*BATCHES["a mixture"])), 6)

    assert torch.equal(found, expected)


def test_rows_that_fill_up_a_batch_choose_nothing():
    layout = layout_of([1, 1], [40, 20], filled_up=2)
    for top_k in (8, 50):
        found, expected = both(layout, top_k)

        assert torch.equal(found[:2], expected[:2])
        assert (found[2:] == -1).all()
