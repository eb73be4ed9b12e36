import pytest
import torch
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from engine.quant.formats import SCALED_FORMATS, format_named, unpack
from engine.quant.integers import num_pairs


def random_bytes(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def fp8(codes: torch.Tensor) -> torch.Tensor:
    return codes.view(torch.float8_e4m3fn).float()


@pytest.mark.parametrize("width", [64, 128, 192, 384, 500])
def test_a_block_scale_covers_128_values_of_a_row(width: int):
    """The last run of a row may be short."""
    codes = random_bytes(5, width)
    scales = torch.rand(5, -(-width // 128))
    expected = fp8(codes) * scales.repeat_interleave(128, dim=1)[:, :width]

    assert torch.equal(
        unpack("FP8_BLOCK", torch.float32, codes, scales).nan_to_num(), expected.nan_to_num()
    )


def test_a_row_scale_covers_the_row():
    """One factor for each row."""
    codes, scales = random_bytes(5, 48), torch.rand(5, 1)

    values = unpack("FP8_ROW", torch.float32, codes, scales)
    assert torch.equal(values.nan_to_num(), (fp8(codes) * scales).nan_to_num())


def test_mxfp4_equals_transformers():
    """Pairs of neighbours in a byte, a power of two for 32 values: to the bit."""
    blocks, scales = random_bytes(3, 8, 4, 16), random_bytes(3, 8, 4, seed=1).clamp(1, 250)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2)

    values = unpack("MXFP4_SPLIT", torch.float32, blocks.view(24, -1), scales.view(24, -1))
    assert torch.equal(values.view(3, 8, 128), expected)


@pytest.mark.parametrize("name", SCALED_FORMATS)
def test_other_types_are_float32_rounded_once(name: str):
    """A narrower result is the float32 one, cast; whatever rows are asked for."""
    codes = random_bytes(40, 64) & 0x77
    num_scales = {"MXFP4_SPLIT": 4, "FP8_ROW": 1, "FP8_BLOCK": 1}.get(name, 0)
    num_scales = num_scales or 2 * num_pairs(name, 128 if "INT4" in name else 64)
    scales = random_bytes(40, num_scales, seed=2).clamp(100, 140)
    scales = scales if name == "MXFP4_SPLIT" else scales / 7
    exact = unpack(name, torch.float32, codes, scales)

    assert torch.equal(unpack(name, torch.bfloat16, codes, scales), exact.bfloat16())
    assert torch.equal(unpack(name, torch.float32, codes[7:9], scales[7:9]), exact[7:9])
    assert unpack(name, torch.float32, codes[:0], scales[:0]).shape == (0, exact.shape[1])


def test_large_tensors_are_unpacked_in_parts():
    """Parts meet without a seam."""
    codes, scales = random_bytes(1100, 2000) & 0x77, torch.rand(1100, 16)
    expected = fp8(codes) * scales.repeat_interleave(128, dim=1)[:, :2000]

    assert torch.equal(unpack("FP8_BLOCK", torch.float32, codes, scales), expected)


def test_scaled_formats_have_names_of_their_own():
    """They are found beside the formats of one tensor."""
    assert format_named("FP8_ROW") is SCALED_FORMATS["FP8_ROW"]
