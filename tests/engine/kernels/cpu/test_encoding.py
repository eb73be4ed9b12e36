"""Native attention both ways, and one row of many, against the reference."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels import ops
from engine.kernels.batch import BatchLayout
from engine.kernels.cpu.calls import Threads, run
from tests.engine.batches import layout_of
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=5)
HEADS = st.sampled_from([(1, 1), (4, 4), (3, 1), (12, 4), (70, 1)])
SIZES = st.sampled_from([8, 20, 32, 64])
REACHES = st.none() | st.integers(0, 220)


@pytest.fixture(scope="module")
def threads() -> Threads:
    return Threads(2)


def layout_for(lengths: list[int]) -> BatchLayout:
    blocks = -(-max(lengths) // 16)
    return layout_of(lengths, lengths, torch.zeros(len(lengths), blocks, dtype=torch.int64), 16)


def check(threads: Threads, lengths, heads, size: int, reach: int | None) -> None:
    generator = torch.Generator().manual_seed(sum(lengths) + size)
    layout, rows = layout_for(lengths), sum(lengths)
    q, k, v = (
        torch.randn(rows, count, size, generator=generator) for count in (heads[0], *[heads[1]] * 2)
    )
    expected = ops.encoder_attention(q, k, v, layout, scale=0.2, reach=reach)

    found = torch.full_like(expected, torch.nan)
    numbers = (0.2, -1 if reach is None else reach, heads[1], size)
    run(threads, "encoder_attention", (q, k, v), found, numbers, layout)

    torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=6, deadline=None)
@given(lengths=LENGTHS, heads=HEADS, size=SIZES, reach=REACHES)
def test_every_row_sees_what_is_in_its_reach(threads, isa, lengths, heads, size, reach):
    """Of its own sequence and on both sides, whatever the shapes."""
    with limited_to(isa):
        check(threads, lengths, heads, size, reach)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=300, deadline=None)
@given(lengths=LENGTHS, heads=HEADS, size=SIZES, reach=REACHES)
def test_every_row_sees_what_is_in_its_reach_at_length(threads, isa, lengths, heads, size, reach):
    """The same for many more shapes."""
    with limited_to(isa):
        check(threads, lengths, heads, size, reach)


@pytest.mark.parametrize("isa", ISAS)
def test_what_is_not_finite_stays_in_its_sequence(threads, isa):
    """A text that overflows says so, and spoils none beside it."""
    layout = layout_for([5, 7])
    q, k, v = torch.randn(3, 12, 2, 8, generator=torch.Generator().manual_seed(1))
    k[2] = torch.nan
    found = torch.empty_like(q)

    with limited_to(isa):
        run(threads, "encoder_attention", (q, k, v), found, (0.2, -1, 2, 8), layout)

    assert not found[:5].isfinite().any()
    assert found[5:].isfinite().all()


@settings(max_examples=20, deadline=None)
@given(
    lengths=LENGTHS, width=st.integers(1, 70), pooling=st.sampled_from(["mean", "first", "last"])
)
def test_a_sequence_has_one_row(threads, lengths, width, pooling):
    """Its mean, its first or its last."""
    x = torch.randn(sum(lengths), width, generator=torch.Generator().manual_seed(width))
    expected = ops.pool_rows(x, layout_for(lengths), pooling=pooling)

    found = torch.full_like(expected, torch.nan)
    kind = ("mean", "first", "last").index(pooling)
    run(threads, "pool_rows", (x,), found, (kind,), layout_for(lengths))

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
