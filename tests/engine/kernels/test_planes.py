import pytest
import torch

from engine.kernels import ops
from engine.kernels.plane_layouts import PLANE_FORMATS
from engine.kernels.planes import (
    PLANES,
    planes_format,
    planes_row_bytes,
    planes_rows,
    unplane,
)
from engine.kernels.weight import Weight
from engine.quant.formats import FORMATS, SCALED_FORMATS
from tests.engine.tiled_weights import CODED, can_be, random_bytes, random_weight

STORED = (*CODED, *SCALED_FORMATS)
COLUMNS = (512, 768, 256, 96, 416, 100, 37, 2, 1)


def in_planes(weight: Weight) -> Weight:
    name = planes_format(weight.format, weight.dtype)
    assert name is not None
    return Weight(name, weight.shape, planes_rows(weight), weight.dtype)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", STORED)
def test_values_are_those_stored_to_the_bit(name: str):
    """Whatever a row's length, short last runs and blocks among them; rows are multiples of 16 bytes."""
    for columns in filter(lambda count: can_be(name, count), COLUMNS):
        stored = random_weight(name, 5, columns)
        planes = in_planes(stored)

        row_bytes = planes_row_bytes(planes.format, columns)
        assert row_bytes % 16 == 0
        assert planes.data.shape == (5, row_bytes)
        expected = stored.unpack(torch.float32)
        assert torch.equal(unplane(planes).view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("name", CODED)
def test_any_bytes_keep_their_values(name: str):
    """Scales that are NaN, infinite or subnormal, too."""
    stored = random_bytes(name, 64, 768)
    actual, expected = unplane(in_planes(stored)), stored.unpack(torch.float32)

    both_nan = actual.isnan() & expected.isnan()
    same = actual.view(torch.int32) == expected.view(torch.int32)
    assert bool((same | both_nan).all())


def test_every_byte_of_float8_keeps_its_value():
    """The two that are NaN among them."""
    codes = torch.arange(256, dtype=torch.uint8)[None]
    stored = Weight("FP8_ROW", (1, 256), codes, torch.float32, torch.ones(1, 1))
    actual, expected = unplane(in_planes(stored)), stored.unpack(torch.float32)

    assert int(expected.isnan().sum()) == 2
    assert torch.equal(actual.isnan(), expected.isnan())
    assert torch.equal(actual.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("name", STORED)
def test_rows_stand_for_themselves(name: str):
    """A run of rows, or rows by index, hold the same values as before."""
    planes = in_planes(random_weight(name, 6, 512))
    values = planes.unpack(torch.float32)

    assert planes.rows(slice(2, 5)).data.data_ptr() == planes.data[2].data_ptr()
    for which in (slice(2, 5), torch.tensor([5, 0, 5])):
        assert torch.equal(planes.rows(which).unpack(torch.float32), values[which])


@pytest.mark.parametrize("name", STORED)
def test_rows_are_packed_the_same_in_any_pieces(name: str, monkeypatch: pytest.MonkeyPatch):
    """However many at a time, and wherever stored bytes begin."""
    stored = random_weight(name, 7, 512)
    room = torch.zeros(7, stored.data.shape[1] + 3, dtype=torch.uint8)
    room[:, 1:-2] = stored.data
    shifted = Weight(name, stored.shape, room[:, 1:-2], stored.dtype, stored.scales)
    whole = planes_rows(stored)
    monkeypatch.setattr("engine.kernels.plane_packing._BYTES_AT_A_TIME", 1)

    assert torch.equal(planes_rows(shifted), whole)


@pytest.mark.parametrize("name", STORED)
def test_ops_take_planes_as_they_take_what_is_stored(name: str):
    """The reference, on any device, is none the wiser."""
    stored = random_weight(name, 12, 256)
    planes = in_planes(stored)
    x, ids = torch.randn(3, 256), torch.tensor([11, 0, 3])
    chosen = torch.tensor([[0, 2], [1, 1], [2, 0]])
    heads = torch.randn(3, 2, 256)

    for op, arguments in (
        (ops.linear, (x,)),
        (ops.logits, (x,)),
        (ops.embedding, (ids,)),
        (ops.expert_linear, (x, chosen, 3)),
        (ops.head_linear, (heads, 0, 4)),
    ):
        first, *others = arguments
        expected = op(first, stored, *others)
        assert torch.equal(op(first, planes, *others), expected), op.__name__


def test_formats_without_planes_say_so():
    """Dense ones stay dense."""
    assert planes_format("dense", torch.bfloat16) is None
    assert planes_format("F16", torch.bfloat16) is None
    assert {planes_format(name, torch.bfloat16) for name in STORED} == {
        PLANES + name for name in PLANE_FORMATS
    }
    with pytest.raises(LookupError, match="dense weights have no planes"):
        planes_rows(Weight.dense(torch.zeros(2, 2)))
    with pytest.raises(LookupError, match="Q4_0 is no format of planes"):
        planes_row_bytes("Q4_0", 32)


def test_planes_take_little_more_than_what_is_stored():
    """Scales that are a byte each where they were six bits, and short planes filled up."""
    for name in CODED:
        kind = FORMATS[name]
        stored = 4096 // kind.block_size * kind.block_bytes
        taken = planes_row_bytes(PLANES + name, 4096)
        assert stored <= taken <= stored * 1.05, name
