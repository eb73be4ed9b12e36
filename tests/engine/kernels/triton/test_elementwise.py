"""Elementwise kernels against the reference."""

import pytest
import torch

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels import reference, reference_moe, reference_streams
from engine.kernels.triton import elementwise as kernels
from tests.engine.kernels.triton.agreement import DTYPES, check, normal, part_of

TWO = {
    "silu_mul": (reference.silu_mul, ()),
    "gelu_tanh_mul": (reference.gelu_tanh_mul, ()),
    "clamped_swiglu": (reference_moe.clamped_swiglu, (1.702, 1.5)),
    "sigmoid_mul": (reference_moe.sigmoid_mul, ()),
    "mul": (reference_streams.mul, ()),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", TWO)
def test_ops_of_two_are_as_the_reference(op, dtype):
    """Dense, where vectors may be of several rows, and as columns of something wider."""
    expected, settings = TWO[op]
    x, y = (normal(seed, 5, 33, dtype=dtype) * 2 for seed in (1, 2))
    for each in (x, part_of(x)), (part_of(y), x), (x, y), (x[:, :32], y[:, :32]):
        check(getattr(kernels, op), expected, *each, *settings)
    check(getattr(kernels, op), expected, x.flatten()[:160], y.flatten()[:160], *settings)


@pytest.mark.parametrize("op", ["silu_mul", "gelu_tanh_mul"])
@pytest.mark.parametrize(
    "dtypes", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)]
)
def test_the_wider_dtype_is_that_of_the_product(op, dtypes):
    """One of them may be the residual stream's."""
    x, y = (normal(seed, 2, 48, dtype=dtype) for seed, dtype in enumerate(dtypes))
    check(getattr(kernels, op), TWO[op][0], x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ops_of_one_are_as_the_reference(dtype):
    """Of whole tensors, heads, and parts."""
    x = normal(1, 3, 2, 40, dtype=dtype) * 4
    for each in x, part_of(x), x[:, 0]:
        check(kernels.relu_squared, reference.relu_squared, each)
        check(kernels.softcap, reference.softcap, each, 3.0)
        # a factor is rounded first, so that float32's product is another
        assert torch.equal(kernels.scale(each, 0.3), reference.scale(each, 0.3))


def test_factors_may_be_one_a_row_or_one_for_all():
    """Gates of a whole row, gains of columns, and a single one."""
    x = normal(1, 5, 33)
    check(kernels.sigmoid_mul, reference_moe.sigmoid_mul, normal(2, 5, 1), x)
    check(kernels.sigmoid_mul, reference_moe.sigmoid_mul, normal(2, 5, 1), normal(3, 5, 1))
    for shape in (33,), (1,), (5, 33):
        check(kernels.mul, reference_streams.mul, x, normal(2, *shape))
    check(kernels.mul, reference_streams.mul, x[:1], normal(2, 33))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(33,), (5, 33)])
def test_lerp_is_as_the_reference(dtype, shape):
    """Between tensors of x's dtype, with factors in float32."""
    x, y = (normal(seed, 5, 33, dtype=dtype) for seed in (1, 2))
    check(kernels.lerp, reference.lerp, part_of(x), y, normal(3, *shape))


def test_small_values_survive_a_cap():
    """Of little, tanh is as exact as float32 is."""
    x = torch.logspace(-8, 2, 200) * torch.tensor([1.0, -1.0]).repeat(100)
    got, exact = kernels.softcap(x, 30.0), 30 * torch.tanh(x.double() / 30)

    assert ((got - exact).abs() <= 2e-6 * exact.abs()).all()


def test_factors_are_looked_up():
    """Each value by its own index."""
    x, factors = normal(1, 7, 3), normal(2, 11)
    index = torch.randint(11, (7, 3), generator=torch.Generator().manual_seed(3))
    check(kernels.scale_by, reference_streams.scale_by, x, factors, index)


def test_nothing_gives_nothing():
    """A batch without rows."""
    assert kernels.silu_mul(torch.zeros(0, 8), torch.zeros(0, 8)).shape == (0, 8)
