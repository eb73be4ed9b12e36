import ctypes

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.kernels.cpu import layouts
from engine.kernels.cpu.calls import Threads
from engine.kernels.cpu.layouts import NUMBERS, ROWS, tiled_bytes
from engine.kernels.cpu.library import library
from engine.kernels.cpu.tiles import pack, tile, untile
from engine.kernels.weight import TILED, Weight
from tests.engine.tiled_weights import (
    CODED,
    NAMES,
    can_be,
    needs_library,
    random_bytes,
    random_weight,
)

pytestmark = needs_library


def _assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    both_nan = actual.isnan() & expected.isnan()
    assert bool((actual.view(torch.int32).eq(expected.view(torch.int32)) | both_nan).all())


@pytest.mark.parametrize("name", CODED)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 35), blocks=st.integers(1, 19))
@settings(max_examples=20, deadline=None)
def test_tiles_have_the_stored_values_to_the_bit(name: str, seed: int, rows: int, blocks: int):
    """Any bytes, subnormal, infinite and NaN scales among them, and any number of rows and blocks."""
    torch.manual_seed(seed)
    columns = blocks * 32 if can_be(name, 32) else (blocks % 3 + 1) * 256
    weight = random_bytes(name, rows, columns)

    tiled = tile(weight)
    _assert_same_bits(tiled.unpack(torch.float32), weight.unpack(torch.float32))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CODED])
@pytest.mark.parametrize("columns", [1, 33, 160, 544])
def test_numbers_and_split_formats_keep_their_values(name: str, columns: int):
    """Dense matrices and scales that are stored apart, rows filled up to a block."""
    columns = columns if can_be(name, columns) else 32 * columns
    weight = random_weight(name, 21, columns)

    tiled = tile(weight)
    _assert_same_bits(tiled.unpack(torch.float32), weight.unpack(torch.float32))
    assert tiled.unpack(weight.dtype).dtype == weight.dtype


def test_every_fp8_code_has_its_value():
    """NaN and subnormal numbers among them."""
    codes = torch.arange(256, dtype=torch.uint8).view(1, 256)
    weight = Weight("FP8_ROW", (1, 256), codes, torch.float32, torch.tensor([[0.75]]))

    _assert_same_bits(tile(weight).unpack(torch.float32), weight.unpack(torch.float32))


@pytest.mark.parametrize("name", NAMES)
def test_ranges_of_tiles_may_be_packed_by_themselves(name: str):
    """Threads, or a load that reads a file in pieces, come to the bytes that one call does."""
    weight = random_weight(name, 70, 512)
    whole = tile(weight, Threads(2))
    parts = torch.empty_like(whole.data.new_empty(whole.nbytes + 64))
    parts = parts[-parts.data_ptr() % 64 :][: whole.nbytes]
    for first in (3, 0, 4, 1, 2):
        pack(whole.format, weight, first, first + 1, parts)

    assert torch.equal(parts, whole.data)


@pytest.mark.parametrize("name", NUMBERS)
def test_sizes_are_the_librarys(name: str):
    """Python plans memory by the same rule that the library fills it by."""
    size = library().rh_tiled_bytes
    size.restype = ctypes.c_int64
    for rows in (1, 16, 17, 640):
        for columns in (32, 64, 256, 576, 2048):
            native = size(NUMBERS[name], ctypes.c_int64(rows), ctypes.c_int64(columns))
            assert tiled_bytes(TILED + name, rows, columns) == native


@pytest.mark.parametrize("name", CODED)
def test_tiles_take_about_what_the_blocks_do(name: str):
    """At most 6 % more, for whole tiles."""
    weight = random_bytes(name, 4 * ROWS, 1024)

    assert weight.nbytes * 0.98 < tile(weight).nbytes < weight.nbytes * 1.06


def test_rows_by_index_are_those_rows():
    """In any order, and more than once."""
    weight = random_weight("Q4_K", 40, 256)
    which = torch.tensor([39, 0, 17, 17])

    assert torch.equal(untile(tile(weight), which), weight.unpack(torch.float32)[which])


def test_tiled_rows_cannot_be_cut():
    """A row of tiles is not in one piece: who wants rows unpacks them."""
    with pytest.raises(ValueError, match="do not stand by themselves"):
        tile(random_weight("Q8_0", 16, 32)).rows(slice(0, 4))


def test_what_cannot_be_tiled_is_refused():
    """A dtype or a format that no kernel multiplies."""
    with pytest.raises(LookupError, match=r"dense weights of torch\.float64 cannot be tiled"):
        tile(Weight.dense(torch.zeros(2, 2, dtype=torch.float64)))
    with pytest.raises(LookupError, match="IQ1_S is no tiled format"):
        layouts.format_number("IQ1_S")
