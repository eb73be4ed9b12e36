import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

from engine.quant.formats import FORMATS, UnknownFormatError, format_named

NAMES = tuple(FORMATS)


def _random_rows(name: str, *leading: int, blocks: int = 4) -> Tensor:
    shape = (*leading, blocks * FORMATS[name].block_bytes)
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _expected(name: str, raw: Tensor) -> Tensor:
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(raw.numpy(), gguf.GGMLQuantizationType[name])
    return torch.from_numpy(np.array(values))


def _assert_same_bits(actual: Tensor, expected: Tensor) -> None:
    assert actual.dtype == expected.dtype == torch.float32
    assert actual.shape == expected.shape
    both_nan = actual.isnan() & expected.isnan()
    assert bool((actual.view(torch.int32).eq(expected.view(torch.int32)) | both_nan).all())


@pytest.mark.parametrize("name", NAMES)
def test_values_equal_ggufs_to_the_bit(name: str):
    """Any bytes, scales that are NaN, infinite or subnormal among them, give gguf-py's values."""
    raw = _random_rows(name, 600, blocks=3)

    _assert_same_bits(FORMATS[name].unpack(raw), _expected(name, raw))


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_quantised_numbers_come_back(name: str):
    """What gguf-py quantised is unpacked to within a step of what it was."""
    values = np.random.default_rng(0).standard_normal((8, 256)).astype(np.float32)
    packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType[name])

    unpacked = FORMATS[name].unpack(torch.from_numpy(packed))
    assert float((unpacked - torch.from_numpy(values)).abs().max()) < 0.6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types_are_float32_rounded_once(name: str, dtype: torch.dtype):
    """A narrower result is the float32 one, cast."""
    raw = _random_rows(name, 5)
    entry = FORMATS[name]

    actual, expected = entry.unpack(raw, dtype), entry.unpack(raw).to(dtype)
    assert actual.dtype == dtype
    assert torch.equal(actual.nan_to_num(), expected.nan_to_num())
    assert torch.equal(actual.isnan(), expected.isnan())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0)])
def test_any_leading_shape_is_kept(name: str, leading: tuple[int, ...]):
    """Only the last axis is unpacked, whatever stands before it, nothing included."""
    raw = _random_rows(name, *leading, blocks=2)
    entry = FORMATS[name]

    unpacked = entry.unpack(raw)
    assert unpacked.shape == (*leading, 2 * entry.block_size)
    for index in np.ndindex(*leading):
        _assert_same_bits(unpacked[index], entry.unpack(raw[index]))


@pytest.mark.parametrize("name", NAMES)
def test_bytes_need_no_alignment(name: str):
    """Rows may begin at any byte and lie apart, as slices of a file or of a stack do."""
    raw = _random_rows(name, 4)
    shifted = torch.zeros(4, raw.shape[1] + 3, dtype=torch.uint8)
    shifted[:, 1:-2] = raw
    entry = FORMATS[name]

    _assert_same_bits(entry.unpack(shifted[:, 1:-2]), entry.unpack(raw))
    _assert_same_bits(entry.unpack(shifted[1, 1:-2]), entry.unpack(raw[1]))


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_a_tensor_of_its_own(name: str):
    """The packed bytes may be a mapped file; the values must not depend on it."""
    raw = _random_rows(name, 2)
    before = FORMATS[name].unpack(raw)
    kept = before.clone()
    raw.zero_()

    _assert_same_bits(before, kept)


def test_large_tensors_are_unpacked_in_parts():
    """Parts meet without a seam, also where the last is a short one."""
    raw = _random_rows("Q4_K", 3, blocks=101)

    _assert_same_bits(FORMATS["Q4_K"].unpack(raw), _expected("Q4_K", raw))


def test_part_of_a_block_is_refused():
    """Rows are whole blocks of bytes."""
    with pytest.raises(ValueError, match="Q4_0 takes uint8 in blocks of 18"):
        FORMATS["Q4_0"].unpack(torch.zeros(17, dtype=torch.uint8))
    with pytest.raises(ValueError, match="Q4_0 takes uint8"):
        FORMATS["Q4_0"].unpack(torch.zeros(18))


def test_an_unknown_type_is_named():
    """A type that is not implemented raises an error with its name and those that are."""
    with pytest.raises(UnknownFormatError, match=r"type IQ1_S are not supported: F32, .*Q4_K") as e:
        format_named("IQ1_S")

    assert e.value.code == "bad_checkpoint"
    assert format_named("Q4_K") is FORMATS["Q4_K"]
