"""Rows of keys and values in 8 bits."""

import pytest
import torch

from engine.kernels.q8_0 import pack, row_bytes, row_size, unpack


def test_a_row_says_how_many_values_it_has():
    """Whatever their number: the last block may be short."""
    for size in range(1, 300):
        assert row_size(row_bytes(size)) == size
    assert row_bytes(64) == 64 + 2 * 2


SMALLEST = 127 * 2.0**-25
"""A scale of less than 2 ** -14 is a float16 without a leading bit: off by up to 2 ** -25."""


@pytest.mark.parametrize("size", [1, 20, 32, 64, 80, 129])
def test_values_come_back_to_half_a_step(size: int):
    """A step is a 127th of the greatest in the block; blocks know nothing of each other."""
    x = torch.randn(7, 3, size) * torch.logspace(-3, 3, 7)[:, None, None]

    found = unpack(pack(x))

    for first in range(0, size, 32):
        block, back = x[..., first : first + 32], found[..., first : first + 32]
        step = block.abs().amax(-1, keepdim=True) / 127
        assert ((block - back).abs() <= step * (0.5 + 127 * 2**-11) + SMALLEST).all()


def test_zeros_stay_zeros():
    """And no scale is divided by."""
    assert (unpack(pack(torch.zeros(2, 40))) == 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_spoils_its_block(value: float):
    """It must be noticed, and must not become a number."""
    x = torch.ones(64)
    x[3] = value

    found = unpack(pack(x))

    assert found[:32].isnan().all()
    torch.testing.assert_close(found[32:], x[32:], atol=1e-3, rtol=0)
