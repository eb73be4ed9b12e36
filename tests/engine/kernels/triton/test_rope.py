"""Positions in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference
from engine.kernels.triton import rope as kernels
from tests.engine.kernels.triton.agreement import DTYPES, check, normal, part_of

POSITIONS = torch.tensor([0, 1, 2, 3, 5, 17, 400, 8191, 131071, 1_000_003, 10_000_019])
INV_FREQ = 10_000.0 ** -torch.linspace(0, 1, 24)


def test_a_table_is_exact_at_any_position():
    """Angles are products in float32; their cosines and sines are exact, however large they are."""
    table = kernels.rope_table(POSITIONS, INV_FREQ, 1.25)
    angles = (POSITIONS.float()[:, None] * INV_FREQ).double()
    exact = 1.25 * torch.stack([angles.cos(), angles.sin()], dim=1)

    assert table.dtype == torch.float32
    assert (table - exact).abs().max() <= 3e-7
    assert (table - reference.rope_table(POSITIONS, INV_FREQ, 1.25)).abs().max() <= 5e-7


def test_long_sequences_have_a_table_of_their_own():
    """Rows choose by the length of their sequence."""
    lengths = torch.tensor([1, 4096, 4097, 9000, 3, 4097, 1, 1, 9000, 1, 9000])
    args = (POSITIONS, lengths, INV_FREQ, INV_FREQ / 3)
    more = {"switch": 4096, "factors": (1.0, 1.19)}
    table, expected = (each.longrope_table(*args, **more) for each in (kernels, reference))

    assert (table - expected).abs().max() <= 5e-7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("heads", "width", "half"), [(1, 8, 4), (3, 24, 12), (5, 20, 6), (40, 256, 32)]
)
def test_heads_are_turned(heads, width, half, dtype):
    """The first columns of each head; others stay what they are."""
    x = normal(1, 4, heads, width, dtype=dtype)
    table = reference.rope_table(POSITIONS[:4] + 7, INV_FREQ[:half], 1.0)
    check(kernels.rope, reference.rope, x, table)
    check(kernels.rope, reference.rope, part_of(x), table)


def test_heads_lie_among_other_columns():
    """Queries and keys of one product."""
    x = normal(1, 3, 100)[:, 20:68].view(3, 4, 12)
    check(kernels.rope, reference.rope, x, reference.rope_table(POSITIONS[3:6], INV_FREQ[:6], 1.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scales_grow_with_the_position(dtype):
    """By a step each period, whatever of the heads a program has."""
    x = normal(1, 11, 3, 500, dtype=dtype)
    got = kernels.scale_by_position(part_of(x), POSITIONS, 0.1, 400)
    expected = reference.scale_by_position(x, POSITIONS, 0.1, 400)

    assert got.dtype == dtype
    rtol = {torch.float32: 2e-6, torch.float16: 0, torch.bfloat16: 1.6e-2}[dtype]
    torch.testing.assert_close(got, expected, rtol=rtol, atol=1e-6)
