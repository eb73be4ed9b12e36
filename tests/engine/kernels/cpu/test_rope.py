"""Native tables of angles, and rotating by them, against the reference."""

import pytest
import torch

from engine.kernels import ops
from engine.kernels.cpu.calls import Threads, run
from tests.engine.tiled_weights import needs_library

pytestmark = needs_library


@pytest.fixture(scope="module")
def threads() -> Threads:
    return Threads(2)


def _frequencies(count: int, base: float = 10000.0) -> torch.Tensor:
    return base ** -(torch.arange(count) / count)


@pytest.mark.parametrize("count", [1, 8, 37, 64])
def test_table_is_exact_at_any_position(threads: Threads, count: int) -> None:
    """Angles up to 131,072 lose nothing to the range of sine and cosine."""
    positions = torch.cat([torch.arange(50), torch.randint(0, 131072, (200,))])
    found = torch.empty(len(positions), 2, count)
    run(threads, "rope_table", (positions, _frequencies(count)), found, (1.25,))
    expected = ops.rope_table(positions, _frequencies(count), 1.25)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_long_sequences_take_the_long_frequencies(threads: Threads) -> None:
    """And the long factor, row by row."""
    positions, lengths = torch.randint(0, 9000, (40,)), torch.randint(4000, 4200, (40,))
    short, long = _frequencies(24), _frequencies(24, 3e6)
    found = torch.empty(40, 2, 24)
    inputs = (positions, lengths, short, long)
    run(threads, "longrope_table", inputs, found, (4096, 1.0, 1.5))
    expected = ops.longrope_table(*inputs, switch=4096, factors=(1.0, 1.5))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("size", "half"), [(16, 8), (80, 20), (64, 32), (10, 3), (4, 2)])
@pytest.mark.parametrize("rows", [1, 3, 300])
def test_rope_is_the_reference(threads: Threads, size: int, half: int, rows: int) -> None:
    """In place too, and what lies behind the rotated values stays."""
    x = torch.randn(rows, 3, size)
    table = ops.rope_table(torch.randint(0, 999, (rows,)), _frequencies(half), 1.0)
    found = torch.full_like(x, torch.nan)
    run(threads, "rope", (x, table), found, (size,))
    torch.testing.assert_close(found, ops.rope(x, table), atol=1e-6, rtol=1e-6)
    expected = found.clone()
    run(threads, "rope", (x, table), x, (size,))
    assert torch.equal(x, expected)


def test_scale_by_position_is_the_reference(threads: Threads) -> None:
    """Whole periods only count."""
    x, positions = torch.randn(30, 2, 16), torch.randint(0, 100_000, (30,))
    found = torch.empty_like(x)
    run(threads, "scale_by_position", (x, positions), found, (0.1, 8192))
    torch.testing.assert_close(found, ops.scale_by_position(x, positions, 0.1, 8192))
