"""What encoders do across rows: attention both ways, and one row of many."""

import pytest
import torch

from engine.kernels import ops
from tests.engine.batches import layout_of

LENGTHS = [3, 1, 5]
LAYOUT = layout_of(LENGTHS, LENGTHS, torch.zeros(3, 1, dtype=torch.int64), 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_row_sees_its_sequence_and_no_other(dtype):
    """Those behind it too; in float32 whatever it is given."""
    q, k, v = torch.randn(3, 9, 2, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = ops.encoder_attention(q, k, v, LAYOUT, scale=0.3)

    first = 0
    for length in LENGTHS:
        rows = slice(first, first + length)
        scores = torch.einsum("qhd,khd->hqk", q[rows].float(), k[rows].float()) * 0.3
        expected = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[rows].float())
        torch.testing.assert_close(found[rows], expected.to(dtype))
        first += length


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [1.0, 3.0, 6.0]), ("first", [0.0, 3.0, 4.0]),
                              ("last", [2.0, 3.0, 8.0])],
)  # fmt: skip
def test_a_sequence_has_one_row(pooling, expected):
    """In float32, as a mean is taken."""
    x = torch.arange(9).bfloat16()[:, None]
    pooled = ops.pool_rows(x, LAYOUT, pooling=pooling)

    assert pooled.dtype == torch.float32
    assert pooled.flatten().tolist() == expected
