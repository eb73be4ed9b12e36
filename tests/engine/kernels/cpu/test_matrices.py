import ctypes

import pytest
import torch
from torch import Tensor

from engine.kernels import ops
from engine.kernels.cpu import matrices  # noqa: F401  # registers its kernels
from engine.kernels.cpu.calls import OperandStruct, Threads, operand_of, operation, run
from engine.kernels.cpu.library import library
from engine.kernels.cpu.tiles import tile
from engine.kernels.weight import Weight
from tests.engine.tiled_weights import (
    ISAS,
    NAMES,
    can_be,
    limited_to,
    needs_library,
    random_weight,
)

pytestmark = needs_library

COUNTS = (1, 2, 3, 4, 5, 7, 16, 17, 33, 130)

NUMBERS = ("torch.float32", "torch.bfloat16", "torch.float16", "FP8_BLOCK", "FP8_ROW")

BF16 = 9
"""The number of activations as pairs of bfloat16."""


def _rounded(x: Tensor, name: str) -> Tensor:
    """What kernels for weights of that name leave of x: int8 in blocks of 32 with one scale."""
    if name in NUMBERS:
        return x
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % 32))
    blocks = padded.view(*x.shape[:-1], -1, 32)
    largest = blocks.abs().amax(-1, keepdim=True)
    codes = torch.round(blocks * (torch.full_like(largest, 127) / largest))
    return (codes * (largest / 127)).view(padded.shape)[..., : x.shape[-1]]


def _product(x: Tensor, weight: Weight) -> Tensor:
    return x.double() @ weight.unpack(torch.float32).double().T


def _error(actual: Tensor, expected: Tensor) -> float:
    """Relative, of all values together."""
    return float((actual - expected).norm() / expected.norm())


def _weights(name: str) -> list[Weight]:
    """Of odd shapes: rows that do not fill a tile, columns that fill no group of blocks."""
    shapes = ((40, 512), (17, 256), (33, 96), (5, 288), (24, 100))
    return [random_weight(name, *shape) for shape in shapes if can_be(name, shape[1])]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_linear_is_the_product_of_the_stored_values(name: str, isa: str):
    """Any number of rows: exact for the int8 that activations become, close for what they were."""
    with limited_to(isa):
        for weight in _weights(name):
            tiled, x = tile(weight), torch.randn(COUNTS[-1], weight.shape[1])
            expected = _product(_rounded(x, name), weight)
            for count in COUNTS:
                result = ops.logits(x[:count], tiled).double()

                assert _error(result, expected[:count]) < 1e-5
            assert _error(ops.linear(x, tiled).double(), _product(x, weight)) < 1e-2


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_those_beside_it(name: str, isa: str):
    """Bit for bit: batching never changes what a sequence says."""
    weight = tile(random_weight(name, 40, 512))
    x = torch.randn(130, 512)
    with limited_to(isa):
        alone = torch.cat([ops.logits(row, weight) for row in x.split(1)])
        for count in COUNTS:
            assert torch.equal(ops.logits(x[:count], weight), alone[:count])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["Q4_0", "Q6_K", "torch.bfloat16", "FP8_BLOCK"])
def test_what_is_not_finite_stays_so(name: str, isa: str):
    """NaN and infinity in a row reach its result, and no other row's."""
    weight = tile(random_weight(name, 24, 256))
    x = torch.randn(5, 256)
    x[1, 40], x[3, 7] = torch.nan, torch.inf
    with limited_to(isa):
        finite = ops.logits(x, weight).isfinite()

    assert finite.all(1).tolist() == [True, False, True, False, True]
    assert not finite[1].any()
    assert not finite[3].any()


@pytest.mark.parametrize("isa", ISAS)
def test_rows_of_zeros_and_of_tiny_numbers(isa: str):
    """A block whose scale would not be a number counts for nothing."""
    weight = tile(random_weight("Q4_1", 16, 64))
    x = torch.zeros(3, 64)
    x[1] = 1e-40
    x[2] = 1e-30
    with limited_to(isa):
        result = ops.linear(x, weight)

    assert not result[:2].any()
    assert result[2].any()


def test_bfloat16_pairs():
    """The instruction for them, which only some CPUs are faster with, on activations rounded so."""
    weight = random_weight("torch.bfloat16", 40, 288)
    tiled, threads = tile(weight), Threads(2)
    with limited_to("avx512") as native:
        size = native.rh_activation_bytes
        size.restype = ctypes.c_int64
        for count in COUNTS:
            x = torch.randn(count, 288)
            room = torch.empty(
                size(BF16, ctypes.c_int64(count), ctypes.c_int64(288)), dtype=torch.uint8
            )
            rounded = OperandStruct(room.data_ptr(), count, 288, BF16)
            result = torch.empty(count, 40)
            _run(threads, "quantise", [operand_of(x)], rounded)
            _run(threads, "linear", [rounded, operand_of(tiled)], operand_of(result))

            assert _error(result.double(), _product(x.bfloat16(), weight)) < 1e-6


def _run(threads: Threads, name: str, inputs: list[OperandStruct], output: OperandStruct) -> None:
    operands = (OperandStruct * len(inputs))(*inputs)
    library().rh_run_op(
        operation(name),
        threads.pool,
        threads.workspace,
        None,
        operands,
        len(inputs),
        ctypes.byref(output),
        (ctypes.c_double * 1)(),
        0,
    )


def test_bias_and_what_is_added():
    """Both are added to the product; what is added may be the result's own memory."""
    weight, bias = random_weight("Q8_0", 24, 64), torch.randn(24)
    x, added = torch.randn(5, 64), torch.randn(5, 24)
    product = ops.logits(x, tile(weight))
    result = added.clone()
    run(Threads(1), "linear", (x, tile(weight), bias, result), result)

    assert torch.equal(ops.linear(x, tile(weight), bias), product + bias)
    assert torch.equal(result, product + bias + added)


@pytest.mark.parametrize("count", [1, 5, 130])
def test_several_matrices_of_one_x(count: int):
    """Of different formats, into results of their own or side by side into one."""
    names = ("Q4_K", "Q6_K", "torch.bfloat16", "Q4_K")
    weights = [tile(random_weight(name, 24 + i, 256)) for i, name in enumerate(names)]
    biases = [None, torch.randn(25), None, torch.randn(27)]
    x = torch.randn(count, 256)
    expected = [ops.logits(x, *each) for each in zip(weights, biases, strict=True)]
    results = [torch.empty(count, weight.shape[0]) for weight in weights]
    beside = torch.empty(count, sum(weight.shape[0] for weight in weights))
    groups = list(zip(weights, biases, results, strict=True))
    threads = Threads(2)
    run(threads, "linears", (x, *(part for group in groups for part in group)))
    run(threads, "linears", (x, *(part for w, b, _ in groups for part in (w, b, None))), beside)

    assert all(torch.equal(*pair) for pair in zip(results, expected, strict=True))
    assert torch.equal(beside, torch.cat(expected, dim=1))


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_the_stored_rows(name: str):
    """Exactly, in any order."""
    weight = random_weight(name, 50, 256)
    token_ids = torch.tensor([49, 3, 3, 0, 16])

    expected = weight.unpack(torch.float32)[token_ids]
    assert torch.equal(ops.embedding(token_ids, tile(weight)), expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["Q4_K", "torch.float32", "MXFP4"])
@pytest.mark.parametrize("out_features", [32, 20])
def test_experts_multiply_the_rows_that_chose_them(name: str, isa: str, out_features: int):
    """As the reference does, where experts fill tiles and where they share them."""
    weight = random_weight(name, 6 * out_features, 256)
    bias = torch.randn(6, out_features)
    with limited_to(isa):
        for count in (1, 4, 50):
            chosen = torch.stack([torch.randperm(6)[:3] for _ in range(count)])
            for shape in ((count, 256), (count, 3, 256)):
                x = torch.randn(shape)
                result = ops.expert_linear(x, tile(weight), chosen, 6, bias)

                expected = ops.expert_linear(_rounded(x, name), weight, chosen, 6, bias)
                assert result.shape == expected.shape
                assert _error(result, expected) < 1e-5


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["Q8_0", "torch.float32"])
@pytest.mark.parametrize("rows", [(0, 32), (32, 48), (5, 23)])
def test_heads_have_matrices_of_their_own(name: str, isa: str, rows: tuple[int, int]):
    """Some rows of each head's, either way round, as the reference does."""
    weight = random_weight(name, 3 * 48, 128)
    with limited_to(isa):
        for count in (1, 5, 40):
            for transposed in (False, True):
                size = rows[1] - rows[0] if transposed else 128
                x = torch.randn(count, 3, size)
                result = ops.head_linear(x, tile(weight), *rows, transposed=transposed)

                kept = x if transposed else _rounded(x, name)
                expected = ops.head_linear(kept, weight, *rows, transposed=transposed)
                assert result.shape == expected.shape
                assert _error(result, expected) < 1e-5
