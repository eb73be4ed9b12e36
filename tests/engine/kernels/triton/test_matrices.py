import itertools
import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from engine.kernels import ops  # noqa: F401  # registers the reference
from engine.kernels.plane_layouts import PLANE_FORMATS
from engine.kernels.weight import DENSE, Weight

pytest.importorskip("triton", reason="Triton is for Linux alone")

from engine.kernels.triton import matrices
from engine.kernels.triton.matrix_blocks import Tiles, Vectors, tiles, vectors
from tests.engine.kernels.test_planes import STORED, can_be, in_planes, random_weight

NAMES = ("torch.float32", *STORED)
ACTS = {"silu_mul": F.silu, "gelu_tanh_mul": lambda x: F.gelu(x, approximate="tanh")}
ALLOWED = 1e-5
"""Of the largest: x is not rounded, nor are sums, but zeros are subtracted from whole runs."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of which short rows have several: the interpreter takes milliseconds for each program."""
    torch.manual_seed(0)
    monkeypatch.setattr(matrices, "vectors", lambda *_, **__: Vectors(8, 2, 64, 4))
    monkeypatch.setattr(matrices, "tiles", lambda *_, **__: Tiles(16, 32, 32, 2, 4, 3))


@pytest.fixture
def _as_launched(_small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many matrices each launch of vectors had."""
    found: list[int] = []
    launch = matrices._launch_vectors

    def counted(x: Tensor, weights: list[Weight], *others: object) -> None:
        found.append(len(weights))
        launch(x, weights, *others)

    monkeypatch.setattr(matrices, "_launch_vectors", counted)
    return found


def _weight(name: str, rows: int, columns: int) -> Weight:
    weight = random_weight(name, rows, columns)
    return weight if weight.format == DENSE else in_planes(weight)


def _x(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns) * 0.1 + 0.02


def _product(x: Tensor, weight: Weight, bias: Tensor | None = None) -> Tensor:
    result = x.double() @ weight.unpack(torch.float32).double().T
    return result if bias is None else result + bias


def _assert_close(actual: Tensor, expected: Tensor, allowed: float = ALLOWED) -> None:
    assert actual.shape == expected.shape
    assert bool(actual.isfinite().all())
    assert float((actual - expected).abs().max()) <= allowed * float(expected.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_stored_values(name: str):
    """Of columns that fill no block, and rows of which some are left over."""
    columns = next(count for count in (100, 96, 256) if can_be(name, count))
    weight, bias, x = _weight(name, 11, columns), torch.randn(11), _x(2, columns)
    result = matrices.linear(x, weight, bias)

    assert result.dtype == torch.float32
    _assert_close(result, _product(x, weight, bias))


@pytest.mark.parametrize("name", ["torch.float32", "Q4_K", "Q3_K", "INT8_32"])
def test_tiles_give_the_same(name: str):
    """More rows than are multiplied one by one, in parts of the columns that are joined."""
    columns = 100 if can_be(name, 100) else 256
    weight, bias, x = _weight(name, 35, columns), torch.randn(35), _x(17, columns)

    _assert_close(
        matrices.linear_add(x, weight, bias, torch.zeros(17, 35)), _product(x, weight, bias)
    )


@pytest.mark.usefixtures("_as_launched")
@pytest.mark.parametrize("name", ["torch.float32", "Q6_K"])
def test_blocks_are_as_on_a_gpu(name: str):
    """As many rows and columns at a time as there, several times over, the last of them short."""
    weight = _weight(name, 36, 1280)
    for num_tokens in (1, 3):
        x = _x(num_tokens, 1280)
        _assert_close(matrices.linear(x, weight), _product(x, weight))


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("columns", [1, 32, 96, 896, 2048, 2880, 4096, 14336, 28672])
def test_launches_fit_what_they_are_for(columns: int, dense: bool):
    """Every thread has rows and whole runs; no block is mostly behind the end."""
    for rows, tokens in itertools.product((1, 1024, 4096, 128256), (1, 2, 4, 8)):
        config = vectors(tokens, rows, columns, dense=dense)
        assert config.rows % config.rows_at_once == 0
        if not dense:
            threads = max(32 * config.num_warps, config.block_k // 32)
            assert config.rows_at_once * config.block_k == 32 * threads
        name = DENSE if dense else "planes:Q6_K"
        for gated, exact in itertools.product((True, False), repeat=2):
            tile = tiles(16 * tokens, rows, columns, name, gated=gated, exact=exact)
            assert tile.block_m >= 16
            assert tile.parts == 1 or tile.parts * tile.block_k < columns
        blocks = -(-columns // config.block_k) * config.block_k
        assert blocks - columns <= max(columns // 8, 32)


@pytest.mark.parametrize("name", STORED)
def test_embeddings_are_the_stored_rows_to_the_bit(name: str):
    """Each as often as it is asked for."""
    weight, ids = _weight(name, 4, 256), torch.tensor([3, 0])

    assert torch.equal(matrices.embedding(ids, weight), weight.unpack(torch.float32)[ids])


@pytest.mark.parametrize("name", ["torch.bfloat16", "Q8_0", "Q5_1", "MXFP4"])
def test_logits_are_float32(name: str):
    """Also of weights that are computed with in bfloat16, also by tiles."""
    weight = _weight(name, 9, 64)
    weight = Weight(weight.format, weight.shape, weight.data, torch.bfloat16)
    for num_tokens in (1, 9):
        x = _x(num_tokens, 64)
        result = matrices.logits(x, weight)
        assert result.dtype == torch.float32
        _assert_close(result, _product(x, weight))


@pytest.mark.parametrize("num_tokens", [1, 6])
@pytest.mark.parametrize(
    ("names", "biased"),
    [
        (("Q4_0",) * 4, 4),
        (("Q4_0",) * 3, 0),
        (("Q4_0", "Q4_0", "MXFP4"), 1),
        (("torch.float32",) * 2, 2),
    ],
)
def test_matrices_of_one_x(
    names: tuple[str, ...], biased: int, num_tokens: int, launches: list[int]
):
    """Alike or not, of sizes of their own; as many of them as have one with a bias."""
    sizes = (11, 8, 3, 9)[: len(names)]
    weights = [_weight(name, rows, 64) for name, rows in zip(names, sizes, strict=True)]
    biases = [torch.randn(rows) if i < biased else None for i, rows in enumerate(sizes)]
    x = _x(num_tokens, 64)
    results = matrices.linears(x, weights, biases)

    if num_tokens == 1 and biased in (0, len(names)):
        assert launches == ([3, 1] if len(names) == 4 else [len(names)])

    for result, weight, bias in zip(results, weights, biases, strict=True):
        assert result.is_contiguous()
        _assert_close(result, _product(x, weight, bias))


@pytest.mark.parametrize("num_tokens", [1, 6, 17])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("names", [("Q4_1", "Q4_1"), ("Q4_0", "Q8_0"), ("torch.float32",) * 2])
def test_a_gate_and_what_it_lets_through(
    names: tuple[str, str], act: str, num_tokens: int, monkeypatch: pytest.MonkeyPatch
):
    """In one launch where both are alike, and where they aren't or torch multiplies all the same."""
    monkeypatch.setattr(matrices, "MOST_DECODED_AGAIN", 16)
    gate, up = (_weight(name, 9, 64) for name in names)
    x, biases = _x(num_tokens, 64), (torch.randn(9), torch.randn(9))
    result = matrices.gated(x, gate, up, act, *biases)

    expected = ACTS[act](_product(x, gate, biases[0])) * _product(x, up, biases[1])
    _assert_close(result, expected, 1e-4)


@pytest.mark.parametrize("num_tokens", [1, 6, 17])
@pytest.mark.parametrize("name", ["Q4_0", "torch.float32", "torch.bfloat16"])
def test_what_is_added_keeps_its_type(name: str, num_tokens: int, monkeypatch: pytest.MonkeyPatch):
    """The residual stream is float32, and nothing is written to it in place."""
    monkeypatch.setattr(matrices, "MOST_DECODED_AGAIN", 16)
    weight, bias = _weight(name, 9, 64), torch.randn(9)
    bias = bias.to(weight.dtype)
    x, addend = _x(num_tokens, 64), torch.randn(num_tokens, 9)
    before = addend.clone()
    result = matrices.linear_add(x, weight, bias, addend)

    assert result.dtype == torch.float32
    assert torch.equal(addend, before)
    allowed = ALLOWED if weight.dtype == torch.float32 else 2e-2
    _assert_close(result, addend + _product(x, weight, bias), allowed)


@pytest.mark.parametrize("name", ["Q4_K", "FP8_BLOCK"])
def test_many_rows_unpack_the_matrix_once(name: str, monkeypatch: pytest.MonkeyPatch):
    """Piece by piece, the last one short."""
    monkeypatch.setattr(matrices, "MOST_DECODED_AGAIN", 4)
    monkeypatch.setattr(matrices, "UNPACK_ELEMENTS", 256 * 15)
    weight, bias, x = _weight(name, 37, 256), torch.randn(37), _x(6, 256)

    _assert_close(matrices.linear(x, weight, bias), _product(x, weight, bias))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", ["Q4_0", "torch.float32"])
@pytest.mark.parametrize("num_tokens", [2, 9])
def test_a_bad_row_of_x_is_nobody_elses(name: str, num_tokens: int):
    """What is not a number, or infinite, stays in its row."""
    weight, x = _weight(name, 8, 64), _x(num_tokens, 64)
    expected = matrices.linear(x, weight)
    x[1, ::2], x[1, 1::2] = float("nan"), float("inf")
    result = matrices.linear(x, weight)

    assert torch.equal(result[[0]], expected[[0]])
    assert torch.equal(result[2:], expected[2:])
    assert not bool(result[1].isfinite().any())


@pytest.mark.parametrize("name", ["Q4_0", "torch.float32"])
def test_rows_of_a_matrix_are_one(name: str):
    """A slice of rows, as a part of a device's or an expert's matrix, and no rows of x at all."""
    weight, x = _weight(name, 12, 64), _x(1, 64)
    part = weight.rows(slice(3, 11))

    _assert_close(matrices.linear(x, part), _product(x, part))
    for op in (matrices.linear, matrices.logits):
        assert op(x[:0], part).shape == (0, 8)
    assert matrices.gated(x[:0], part, part, "silu_mul").shape == (0, 8)
    assert matrices.linear_add(x[:0], part, None, torch.empty(0, 8)).shape == (0, 8)


def test_every_format_has_its_kernels():
    """Dense embeddings are torch's: one gather is one kernel."""
    planes = {
        (op, f"planes:{name}") for name in PLANE_FORMATS for op in ("linear", "logits", "embedding")
    }

    assert set(matrices.WEIGHT_KERNELS) == planes | {("linear", DENSE), ("logits", DENSE)}
    assert set(matrices.KERNELS) == {"linears", "gated", "linear_add"}


@pytest.mark.slow
@pytest.mark.usefixtures("_as_launched")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_random_shapes(name: str):
    """Any rows, columns and tokens."""
    draw = random.Random(0)
    for _ in range(12):
        columns = 32 * draw.randint(1, 80)
        if not can_be(name, columns):
            columns = 256 * draw.randint(1, 12)
        num_rows, num_tokens = draw.randint(1, 90), draw.choice((1, 1, 2, 3, 4, 8, 9, 17, 40))
        weight, x = _weight(name, num_rows, columns), _x(num_tokens, columns)
        _assert_close(matrices.linear(x, weight), _product(x, weight))
        _assert_close(matrices.logits(x, weight), _product(x, weight))
        addend = torch.randn(num_tokens, num_rows)
        _assert_close(matrices.linear_add(x, weight, None, addend), addend + _product(x, weight))
