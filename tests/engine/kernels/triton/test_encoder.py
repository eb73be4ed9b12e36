"""Attention of encoders in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference_encoding
from engine.kernels.triton.encoder import encoder_attention
from tests.engine.kernels.triton.paged import layout_of, randn


@pytest.mark.parametrize("reach", [None, 0, 4, 50])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
def test_rows_see_their_sequence_both_ways(reach, heads):
    """Whole, or as far as the reach; and nothing of another's."""
    layout = layout_of([1, 37, 5, 20], [1, 37, 5, 20])
    num_heads, kv_heads = heads
    q = randn(63, num_heads, 24)
    k, v = (randn(63, kv_heads, 24, seed=seed) for seed in (2, 3))
    arguments = q, k, v, layout

    torch.testing.assert_close(
        encoder_attention(*arguments, scale=0.4, reach=reach),
        reference_encoding.encoder_attention(*arguments, scale=0.4, reach=reach),
        rtol=0,
        atol=1e-5,
    )


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_bad_values_stay_in_their_sequence():
    layout = layout_of([3, 9], [3, 9])
    q, k, v = (randn(12, 2, 16, seed=seed) for seed in (1, 2, 3))
    expected = encoder_attention(q, k, v, layout, scale=0.4)
    k[0], v[1] = torch.inf, torch.nan
    found = encoder_attention(q, k, v, layout, scale=0.4)

    assert torch.equal(found[3:], expected[3:])
    assert found[:3].isnan().all()
