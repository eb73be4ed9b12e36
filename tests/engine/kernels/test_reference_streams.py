"""The ops of Gemma 3n and 4 against their formulas, written out."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from engine.kernels import ops

T, STREAMS, SIZE = 3, 4, 8


@pytest.fixture
def streams() -> torch.Tensor:
    return torch.randn(T, STREAMS, SIZE)


def test_a_prediction_mixes_all_streams_into_each(streams):
    """Coefficient j * k + i is what stream j gets of stream i."""
    coefficients = torch.randn(T, STREAMS**2)
    expected = streams.clone()
    for j in range(STREAMS):
        for i in range(STREAMS):
            expected[:, j] += coefficients[:, j * STREAMS + i, None] * streams[:, i]

    assert torch.allclose(ops.mix_streams(streams, coefficients), expected, atol=1e-5)


def test_a_correction_moves_each_stream_by_the_firsts_error(streams):
    """By once, and by its coefficient more."""
    x, coefficients = torch.randn(T, SIZE), torch.randn(T, STREAMS)
    corrected = ops.correct_streams(streams, x, coefficients)

    for j in range(STREAMS):
        moved = (1 + coefficients[:, j, None]) * (x - streams[:, 0])
        assert torch.allclose(corrected[:, j], streams[:, j] + moved, atol=1e-6)


def test_later_streams_are_added_to(streams):
    """The first stays as it is."""
    x = torch.randn(T, SIZE)
    added = ops.add_to_later(streams, x)

    assert torch.equal(ops.select_stream(added, 0), streams[:, 0])
    assert torch.equal(ops.select_stream(added, 2), streams[:, 2] + x)


def test_vectors_take_on_anothers_size(streams):
    """The root mean square; what is almost nothing is not blown up to it."""
    like = torch.randn(T, SIZE) * 5
    streams[0, 1] = 1e-6
    matched = ops.match_rms(streams, like)
    sizes = matched.square().mean(-1).sqrt()
    wanted = like.square().mean(-1).sqrt()

    assert torch.allclose(sizes[1:], wanted[1:, None].expand(-1, STREAMS))
    assert torch.allclose(sizes[0, 1], wanted[0] * 1e-6 / 1e-5**0.5)


def test_of_a_normal_row_the_largest_gates_remain():
    """1.645 deviations above the mean leave a twentieth, and what they are above it."""
    x = torch.randn(2, 20000) * 3 + 1
    sparse = ops.sparsify(x, 1.645)

    assert (sparse > 0).float().mean() == pytest.approx(0.05, abs=0.005)
    assert torch.allclose(sparse, F.relu(x - 1 - 1.645 * 3), atol=0.2)


def test_factors_are_looked_up_or_along_the_last_axis():
    """`scale_by` has one for each index, `mul` one for each column or for all."""
    x, index = torch.rand(T, 2), torch.tensor([[0, 2], [1, 1], [2, 0]])
    factors = torch.tensor([1.0, 10.0, 100.0])

    assert torch.equal(ops.scale_by(x, factors, index)[0], x[0] * torch.tensor([1.0, 100.0]))
    assert torch.equal(ops.mul(x, torch.tensor([2.0, 3.0])), x * torch.tensor([2.0, 3.0]))
    assert torch.equal(ops.mul(x.bfloat16(), torch.tensor([2.0])), x.bfloat16() * 2)


def test_ids_beyond_a_table_are_zero():
    """The first id is that of padding."""
    found = ops.ids_below(torch.tensor([0, 4, 5, 90]), 5)

    assert found.tolist() == [0, 4, 0, 0]
