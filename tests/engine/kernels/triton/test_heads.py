"""Each head's product by a matrix of its own in Triton, against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels.planes import planes_format, planes_rows
from engine.kernels.reference_latent import head_linear as reference
from engine.kernels.triton.heads import head_linear
from engine.kernels.weight import Weight
from tests.engine.tiled_weights import random_weight

HEADS = 3


def numbers(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(dtype)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("rows", "first", "last", "columns"),
    [(18, 0, 16, 32), (1, 5, 21, 80), (18, 0, 70, 24), (1, 2, 3, 8)],
)
def test_head_linear(rows, transposed, first, last, columns):
    """Of all rows of a head's or a part of them."""
    weight = Weight.dense(numbers(HEADS * 70, columns, seed=1))
    x = numbers(rows, HEADS, last - first if transposed else columns)
    actual = head_linear(x, weight, first, last, transposed=transposed)

    expected = reference(x, weight, first, last, transposed=transposed)
    assert actual.is_contiguous()
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("name", ["Q8_0", pytest.param("FP8_BLOCK", marks=pytest.mark.slow)])
def test_quantised_matrices(name, transposed):
    torch.manual_seed(0)
    stored = random_weight(name, HEADS * 40, 96)
    form = planes_format(name, torch.float32)
    weight = Weight(form, stored.shape, planes_rows(stored), torch.float32)
    x = numbers(2, HEADS, 30 if transposed else 96) / 8
    actual = head_linear(x, weight, 10, 40, transposed=transposed)

    expected = reference(x, weight, 10, 40, transposed=transposed)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_slice_of_wider_heads_and_half_precision(transposed):
    """As queries come to it: their first columns, of another dtype than the weight."""
    weight = Weight.dense(numbers(HEADS * 32, 32, seed=1, dtype=torch.float16))
    x = numbers(4, HEADS, 40)[..., 4:36]
    actual = head_linear(x, weight, 0, 32, transposed=transposed)

    expected = reference(x, weight, 0, 32, transposed=transposed)
    torch.testing.assert_close(actual, expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_bad_row_spoils_no_other(transposed):
    weight, x = Weight.dense(numbers(HEADS * 16, 16, seed=1)), numbers(3, HEADS, 16)
    good = head_linear(x, weight, 0, 16, transposed=transposed)
    x[1] = torch.nan
    actual = head_linear(x, weight, 0, 16, transposed=transposed)

    assert torch.equal(actual[[0, 2]], good[[0, 2]])
    assert actual[1].isnan().all()


def test_no_rows():
    weight = Weight.dense(numbers(HEADS * 16, 16))

    assert head_linear(numbers(0, HEADS, 16), weight, 0, 4).shape == (0, HEADS, 4)
