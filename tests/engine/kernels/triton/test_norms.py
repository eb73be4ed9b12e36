"""Norms in Triton against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference, reference_delta, reference_streams
from engine.kernels.triton import norms as kernels
from tests.engine.kernels.triton.agreement import DTYPES, check, normal, part_of

SHAPES = [(1, 2), (5, 48), (3, 1030), (7, 3, 40)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_norms_are_as_the_reference(shape, dtype):
    """Of rows and of heads, of which some are part of something wider."""
    x, weight, bias = normal(1, *shape, dtype=dtype) + 0.5, *(normal(i, shape[-1]) for i in (2, 3))
    for each in x, part_of(x):
        check(kernels.rms_norm, reference.rms_norm, each, weight, 1e-2)
        check(kernels.rms_norm, reference.rms_norm, each, None, 1e-2)
        check(kernels.l2_norm, reference_delta.l2_norm, each, 1e-2)
        check(kernels.layer_norm, reference.layer_norm, each, weight, bias, 1e-2)
        check(kernels.layer_norm, reference.layer_norm, each, weight, None, 1e-2)
        check(kernels.layer_norm, reference.layer_norm, each, None, None, 1e-2)
        check(kernels.sparsify, reference_streams.sparsify, each, 0.4)


def test_heads_lie_among_other_columns():
    """Heads of one product of several: rows are further apart than the heads fill."""
    x = normal(1, 6, 50)[:, 8:38].view(6, 3, 10)
    check(kernels.rms_norm, reference.rms_norm, x, normal(2, 10), 1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_head_may_have_its_own_weight(dtype):
    """And its own bias, of which one may lack."""
    x, weight, bias = normal(1, 5, 3, 20, dtype=dtype), normal(2, 3, 20), normal(3, 3, 20)
    check(kernels.layer_norm, reference.layer_norm, part_of(x), weight, bias, 1e-5)
    check(kernels.layer_norm, reference.layer_norm, x, None, bias, 1e-5)


@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("float32", "bfloat16"), ("float16",) * 2]
)
@pytest.mark.parametrize("shape", [(5, 48), (1, 1030), (4, 3, 20)])
def test_a_sum_and_its_norm(dtypes, shape):
    """Both as the ops give them one after the other."""
    x, y = (normal(i, *shape, dtype=getattr(torch, dtype)) for i, dtype in enumerate(dtypes))
    weight = normal(2, shape[-1])
    for left, right in (x, y), (part_of(x), y), (x, part_of(y)), (x, y[0]):
        total, normed = kernels.add_rms_norm(left, right, weight, 1e-5)
        assert total.dtype == normed.dtype == (left + right).dtype
        assert torch.equal(total, reference.add(left, right))
        expected = reference.rms_norm(total, weight, 1e-5)
        torch.testing.assert_close(
            normed, expected, rtol=2e-3 if x.dtype.itemsize < 4 else 2e-6, atol=2e-6
        )
    assert torch.equal(
        kernels.add_rms_norm(x, y, None, 1e-5)[1], kernels.rms_norm(x + y, None, 1e-5)
    )


def test_a_row_does_not_touch_another():
    """What is no number stays in its row, though a program has several."""
    x = normal(1, 6, 16)
    broken = x.clone()
    broken[2, 3] = torch.nan
    kept = [0, 1, 3, 4, 5]

    for norm in (
        lambda rows: kernels.rms_norm(rows, None, 1e-5),
        lambda rows: kernels.layer_norm(rows, None, None, 1e-5),
    ):
        assert torch.equal(norm(broken)[kept], norm(x)[kept])
        assert norm(broken)[2].isnan().all()
