import re
from typing import Any

import pytest

from engine.quant.methods import called, why_refused
from tests.engine.integer_quantisers import STYLES

EIGHT = {"num_bits": 8, "type": "int", "strategy": "channel"}


def _ints(*weights: Any) -> dict[str, Any]:
    groups = {f"group_{index}": {"weights": each} for index, each in enumerate(weights)}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "config_groups": groups,
    }


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
        {"quant_method": "gptq", "bits": 4, "dynamic": {"-:lm_head": {}}, "group_size": -1},
        *(style.described for style in STYLES.values()),
    ],
)
def test_what_we_unpack_is_accepted(described):
    """No description at all is the common case."""
    assert why_refused({"quantization_config": described}) is None


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ({"quant_method": "aqlm"}, "'aqlm' is not supported: fp8, "),
        ({"quant_method": "gptq", "bits": 3}, "bits 3, not 4 or 8"),
        ({"quant_method": "gptq"}, "bits None"),
        ({"quant_method": "gptq", "bits": True}, "bits True"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 0}, "group_size 0"),
        ({"quant_method": "gptq", "bits": 4, "group_size": "128"}, "group_size '128'"),
        ({"quant_method": "gptq", "bits": 4, "desc_act": "yes"}, "desc_act 'yes'"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "'marlin'"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*up": {"bits": 8}}}, "dynamic"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "version 'gemv', not gemm"),
        ({"quant_method": "awq", "bits": 4, "zero_point": False}, "zero_point False"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "load_in_8bit"),
        ({"quant_method": "compressed-tensors", "format": "nvfp4"}, "format 'nvfp4', not"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "no config_groups"),
        (_ints({"num_bits": 3, "type": "int", "strategy": "channel"}), "num_bits 3"),
        (_ints({"num_bits": 4, "type": "float", "strategy": "channel"}), "type 'float'"),
        (_ints({"num_bits": 4, "type": "int", "strategy": "block"}), "strategy 'block'"),
        (_ints(4), "a config group without weights"),
        (_ints(EIGHT, {**EIGHT, "num_bits": 4}), "config_groups that differ"),
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
    fp8 = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    assert called({"quantization_config": fp8}) == "FP8"
    assert called({"quantization_config": STYLES["packed"].described}) == "INT4"
    assert called({"quantization_config": STYLES["awq"].described}) == "AWQ-INT4"
    assert called({"quantization_config": {"quant_method": "mxfp4"}}) == "MXFP4"
    assert called({}) is None
