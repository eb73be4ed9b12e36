"""RWKV's recurrences in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_rwkv as reference
from engine.kernels.triton import rwkv as kernels
from tests.engine.kernels.triton.scans import (
    BATCHES,
    MIXED,
    SEEDS,
    check,
    columns_of,
    drawn,
    normal,
)

HEADS = 2


def rows(ragged, number, dim, dtype):
    return columns_of(*(normal(i, ragged.num_rows, HEADS, dim).to(dtype) for i in range(number)))


def check_rwkv6(ragged, *, dim=8, dtype=torch.float32, forgetting=1.0, tolerance=2e-5):
    r, k, v = rows(ragged, 3, dim, dtype)
    decay = -forgetting * (normal(6, ragged.num_rows, HEADS, dim) * 2 - 1).exp()
    bonus = normal(7, HEADS, dim)

    def run(scan):
        return lambda state, layout: scan(r, k, v, decay, bonus, state, layout)

    shape = HEADS, dim, dim
    kernel, expected = run(kernels.rwkv6_scan), run(reference.rwkv6_scan)
    check(ragged, shape, kernel, expected, tolerance=tolerance)


def check_rwkv7(ragged, *, dim=8, dtype=torch.float32, tolerance=5e-5):
    r, k, v, decay, removal, rate = rows(ragged, 6, dim, torch.float32)
    decay, rate = -0.61 * decay.sigmoid(), rate.sigmoid()
    removal = torch.nn.functional.normalize(removal, dim=-1)
    given = r.to(dtype), k.to(dtype), v.to(dtype), decay, removal.to(dtype), rate.to(dtype)

    def run(scan):
        return lambda state, layout: scan(*given, state, layout)

    shape = HEADS, dim, dim
    kernel, expected = run(kernels.rwkv7_scan), run(reference.rwkv7_scan)
    check(ragged, shape, kernel, expected, tolerance=tolerance)


@pytest.mark.parametrize("batch", BATCHES)
def test_they_are_as_the_reference(batch):
    """Of dims that are more than a tile, and fill none."""
    check_rwkv6(BATCHES[batch], dim=20)
    check_rwkv7(BATCHES[batch], dim=20)


def test_rows_of_bfloat16():
    """Computed in float32, as the states are kept."""
    check_rwkv6(MIXED, dtype=torch.bfloat16)
    check_rwkv7(MIXED, dtype=torch.bfloat16)


@pytest.mark.parametrize("forgetting", [0.0, 1e-5, 1e6])
def test_channels_that_forget_nothing_or_all(forgetting):
    check_rwkv6(MIXED, forgetting=forgetting, tolerance=5e-5)


@SEEDS
def test_drawn_batches(seed):
    check_rwkv6(drawn(seed), tolerance=5e-5)
    check_rwkv7(drawn(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bonus_is_as_the_reference(dtype):
    r, k, v = columns_of(*(normal(i, 5, HEADS, 20).to(dtype) for i in range(3)))
    factors = normal(9, HEADS, 20)
    found = kernels.rwkv7_bonus(r, k, v, factors)

    coarse = 2**-7 if dtype == torch.bfloat16 else 1e-5
    assert found.dtype == dtype
    expected = reference.rwkv7_bonus(r, k, v, factors)
    torch.testing.assert_close(found, expected, rtol=coarse, atol=coarse)
