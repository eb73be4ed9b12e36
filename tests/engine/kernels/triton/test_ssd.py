"""Mamba-2's scan in Triton against the reference, row by row and in chunks."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_ssm as reference
from engine.kernels.triton import ssd as kernels
from engine.kernels.triton.chunks import CHUNK
from tests.engine.kernels.triton.scans import (
    ALONE,
    BATCHES,
    MIXED,
    SEEDS,
    Ragged,
    check,
    columns_of,
    drawn,
    normal,
)

NO_LIMITS = (0.0, float("inf"))


def check_scan(
    ragged,
    *,
    heads=2,
    dim=16,
    groups=1,
    size=16,
    dtype=torch.float32,
    limits=NO_LIMITS,
    forgetting=1.0,
    **more,
):
    shapes = (heads, dim), (heads,), (groups, size), (groups, size)
    parts = [normal(i, ragged.num_rows, *shape).to(dtype) for i, shape in enumerate(shapes)]
    x, dt, b, c = columns_of(*parts)
    a, d, dt_bias = -forgetting * normal(5, heads).exp(), normal(6, heads), normal(7, heads)

    def run(scan):
        return lambda state, layout: scan(
            x, dt, a, b, c, d, dt_bias, state, layout, dt_limits=limits
        )

    shape = heads, dim, size
    check(ragged, shape, run(kernels.ssd_scan), run(reference.ssd_scan), **more)


@pytest.mark.parametrize("batch", BATCHES)
def test_it_is_as_the_reference(batch):
    """Of dims and numbers that fill no tile, and of groups of heads."""
    check_scan(BATCHES[batch], dim=20, size=5, heads=4, groups=2, tolerance=2e-5)


def test_a_longest_query_that_nobody_said():
    """Is no longer than the batch."""
    check_scan(MIXED, tells_longest=False, tolerance=2e-5)


def test_more_rows_than_a_chunk():
    """From chunk to chunk the state goes on."""
    check_scan(Ragged([2 * CHUNK + 9], [(-1, 2)]), heads=1, tolerance=5e-5)
    check_scan(Ragged([1, CHUNK + 9, CHUNK], [(1, 1), (2, 2), (-1, 0)]), heads=1, tolerance=5e-5)


def test_many_rows_one_by_one(monkeypatch):
    """As float32 has them on a GPU."""
    monkeypatch.setattr(kernels, "has_chunks", lambda _: False)
    check_scan(MIXED, dim=20, size=5, tolerance=2e-5)


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_scan(MIXED, dtype=torch.bfloat16, tolerance=2e-5)


def test_limits_of_dt():
    check_scan(MIXED, limits=(0.3, 0.9), tolerance=2e-5)


@pytest.mark.parametrize("forgetting", [1e-6, 1000.0])
def test_heads_that_forget_nothing_or_all(forgetting):
    check_scan(MIXED, forgetting=forgetting, tolerance=5e-5)
    check_scan(ALONE, forgetting=forgetting, tolerance=5e-5)


@SEEDS
def test_drawn_batches(seed):
    check_scan(drawn(seed), tolerance=5e-5)
