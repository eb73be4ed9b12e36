"""Native elementwise ops against their references, with every instruction set."""

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from tests.engine.native_ops import run
from tests.engine.tiled_weights import ISAS, limited_to, needs_library

pytestmark = needs_library

SHAPES = ((1, 1), (3, 1), (1, 15), (5, 15), (4, 17), (7, 1000), (40, 1000), (300, 512))

UNARY: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("silu", "gelu", "gelu_tanh", "relu_squared", "sigmoid", "tanh", "exp"), ()),
    "clamp": (0.5,),
    "softcap": (3.0,),
    "scale": (0.3,),
    "widen": (),
}

BINARY: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("add", "mul", "silu_mul", "gelu_tanh_mul", "sigmoid_mul"), ()),
    "clamped_swiglu": (1.702, 2.0),
}


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=3e-6, atol=2e-6, equal_nan=True)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name: str, isa: str):
    """Any shape; values of any size that a float32 can have."""
    with limited_to(isa):
        for shape in SHAPES:
            for size in (1e-3, 1.0, 30.0):
                x = torch.randn(shape) * size
                assert_close(run(name, x, *UNARY[name]), ops.OPS[name](x, *UNARY[name]))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_what_is_not_finite(name: str, isa: str):
    """NaN stays where it is; infinities become their limits."""
    x = torch.randn(3, 19)
    x[0, 3] = x[1, 18] = torch.nan
    x[2, 2], x[2, 3] = 100.0, -100.0
    if name != "gelu":  # of which torch says NaN
        x[1, 1], x[2, 18] = torch.inf, -torch.inf
    operands = (x, torch.randn(3, 19)) if name in BINARY else (x,)
    numbers = (UNARY | BINARY)[name]
    with limited_to(isa):
        assert_close(run(name, *operands, *numbers), ops.OPS[name](*operands, *numbers))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name: str, isa: str):
    """Of one shape."""
    with limited_to(isa):
        for shape in SHAPES:
            x, y = torch.randn(shape) * 3, torch.randn(shape) * 3
            assert_close(run(name, x, y, *BINARY[name]), ops.OPS[name](x, y, *BINARY[name]))


@pytest.mark.parametrize("isa", ISAS)
def test_one_row_beside_many(isa: str):
    """Sums, products and mixtures with a row that all share, or a number."""
    with limited_to(isa):
        for rows, width in SHAPES:
            x, y, row = torch.randn(rows, width), torch.randn(rows, width), torch.randn(width)
            assert_close(run("add", x, row), ops.add(x, row))
            assert_close(run("mul", x, row), ops.mul(x, row))
            assert_close(run("mul", x, row[:1]), ops.mul(x, row[:1]))
            assert_close(run("lerp", x, y, row), ops.lerp(x, y, row))
            assert_close(run("lerp", x, y, x), ops.lerp(x, y, x))
            assert_close(run("sigmoid_mul", y[:, :1].clone(), x), ops.sigmoid_mul(y[:, :1], x))


@pytest.mark.parametrize("isa", ISAS)
def test_rows_as_a_whole(isa: str):
    """What is large among a row's values."""
    with limited_to(isa):
        for shape in SHAPES:
            x = torch.randn(shape) + 2
            torch.testing.assert_close(
                run("sparsify", x, 0.7), ops.sparsify(x, 0.7), rtol=1e-5, atol=3e-6
            )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("heads", [1, 3, 17])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_log_decay(isa: str, heads: int, size: int):
    """A factor for each head, or for each value; whatever softplus is given."""
    x = torch.randn(9, heads * size) * 20
    factor, bias = -torch.rand(heads), torch.randn(heads * size)
    with limited_to(isa):
        assert_close(run("log_decay", x, factor, bias), ops.log_decay(x, factor, bias))


@pytest.mark.parametrize("rows", [1, 7, 400])
def test_columns_and_rows(rows: int):
    """Of the last axis, whatever is before it; and rows in any order."""
    x, y = torch.randn(rows, 3, 50), torch.randn(rows, 3, 7)
    flat, places = x.flatten(1), torch.randint(rows, (5,))

    assert torch.equal(run("select_columns", x, 3, 20), ops.select_columns(x, 3, 20))
    assert torch.equal(run("select_columns", flat, 3, 140), ops.select_columns(flat, 3, 140))
    assert torch.equal(run("concat", x, y), ops.concat(x, y))
    assert torch.equal(run("concat", flat, y.flatten(1)), ops.concat(flat, y.flatten(1)))
    assert torch.equal(run("select_rows", flat, places), ops.select_rows(flat, places))


def test_ids_and_indices():
    """Whole numbers as tokens and as places."""
    ids, places = torch.tensor([5, 0, 9, 8]), torch.randint(6, (4, 3))
    x, factors = torch.rand(4, 3), torch.rand(6)

    assert torch.equal(run("ids_below", ids, 8), ops.ids_below(ids, 8))
    assert torch.equal(run("scale_by", x, factors, places), ops.scale_by(x, factors, places))


@pytest.mark.parametrize("name", ["add", "mul"])
def test_what_goes_with_no_row_is_left_to_torch(name: str):
    """A vector for each head is none for each row."""
    with pytest.raises(LookupError):
        run(name, torch.randn(3, 4, 5), torch.randn(5))
