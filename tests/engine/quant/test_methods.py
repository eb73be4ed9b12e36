import re

import pytest

from engine.quant.methods import called, why_refused


@pytest.mark.parametrize(
    "described",
    [
        None,
        {},
        {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
        {"quant_method": "fp8", "weight_block_size": None},
        {"quant_method": "fp8"},
        {"quant_method": "fbgemm_fp8"},
        {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
        {"quant_method": "compressed-tensors", "format": "float-quantized"},
        {"quant_method": "modelopt", "quant_algo": "FP8"},
    ],
)
def test_what_we_unpack_is_accepted(described):
    """No description at all is the common case."""
    assert why_refused({"quantization_config": described}) is None


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ({"quant_method": "awq"}, "'awq' is not supported: fp8, "),
        ({"quant_method": "gptq", "bits": 4}, "'gptq'"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "'bitsandbytes'"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "'pack-quantized'"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "quant_algo 'NVFP4', not FP8"),
        ({"quant_method": "fp8", "weight_block_size": [64, 64]}, r"\[64, 64\]"),
        ({"bits": 4}, "quant_method None"),
        ({"quant_method": ["fp8"]}, "quant_method"),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_other_ways_are_refused_by_name(described, named, is_wrapped):
    """With what is known instead; a wrapper may say it for its text model, or that for itself."""
    config = {"quantization_config": described}
    refused = why_refused({"text_config": config} if is_wrapped else config)

    assert refused is not None
    assert re.search(named, refused)


def test_a_method_has_the_name_that_people_use():
    """For a model's card."""
    assert called({"quantization_config": {"quant_method": "compressed-tensors"}}) == "FP8"
    assert called({"quantization_config": {"quant_method": "mxfp4"}}) == "MXFP4"
    assert called({}) is None
