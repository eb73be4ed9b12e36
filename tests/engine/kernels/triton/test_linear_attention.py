"""Lightning attention in Triton against the reference, row by row and in chunks."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_linear_attention as reference
from engine.kernels.triton import linear_attention as kernels
from engine.kernels.triton.chunks import CHUNK
from tests.engine.kernels.triton.scans import (
    BATCHES,
    MIXED,
    SEEDS,
    Ragged,
    check,
    columns_of,
    drawn,
    normal,
)


def check_attention(ragged, *, heads=2, dim=16, dtype=torch.float32, slope=0.3, **more):
    shapes = (heads, 3 * dim), (heads, 1)
    qkv, _ = columns_of(*(normal(i, ragged.num_rows, *shape) for i, shape in enumerate(shapes)))
    qkv, slopes = qkv.to(dtype), slope * normal(5, heads).abs()

    def run(attention):
        return lambda state, layout: attention(qkv, slopes, state, layout)

    shape = heads, dim, dim
    kernel, expected = run(kernels.linear_attention), run(reference.linear_attention)
    check(ragged, shape, kernel, expected, **{"tolerance": 2e-5, **more})


@pytest.mark.parametrize("batch", BATCHES)
def test_it_is_as_the_reference(batch):
    """Of a dim that is more than a tile, and fills none."""
    check_attention(BATCHES[batch], dim=20)


def test_a_longest_query_that_nobody_said():
    """Is no longer than the batch."""
    check_attention(MIXED, tells_longest=False)


def test_more_rows_than_a_chunk():
    """From chunk to chunk the state goes on."""
    check_attention(Ragged([2 * CHUNK + 9], [(-1, 2)]), heads=1, tolerance=5e-5)
    check_attention(Ragged([1, CHUNK + 9, CHUNK], [(1, 1), (2, 2), (-1, 0)]), heads=1)


def test_many_rows_one_by_one(monkeypatch):
    """As float32 has them on a GPU."""
    monkeypatch.setattr(kernels, "has_chunks", lambda _: False)
    check_attention(MIXED)


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_attention(MIXED, dtype=torch.bfloat16)


@pytest.mark.parametrize("slope", [0.0, 1e-6, 300.0, 1e30])
def test_heads_that_forget_nothing_or_all(slope):
    check_attention(MIXED, slope=slope, tolerance=5e-5)


@SEEDS
def test_drawn_batches(seed):
    check_attention(drawn(seed), tolerance=5e-5)
