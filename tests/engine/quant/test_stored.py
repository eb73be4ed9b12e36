from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import CheckpointError, TensorInfo, open_checkpoint
from engine.quant.stored import ScaledTensor, row_scales, stored_weights
from tests.engine.fixture_models import write_hf

FP8 = torch.float8_e4m3fn


def weights(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> dict[str, TensorInfo]:
    with open_checkpoint(write_hf(folder, config, tensors)) as checkpoint:
        return stored_weights(checkpoint)


def scales_of(folder: Path, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    with open_checkpoint(write_hf(folder, {}, tensors)) as checkpoint:
        (tensor,) = stored_weights(checkpoint).values()
        assert isinstance(tensor, ScaledTensor)
        raw = torch.frombuffer(bytearray(checkpoint.read(tensor.scales.name)), dtype=torch.uint8)
        return row_scales(tensor, raw)


def test_scales_belong_to_their_weight(tmp_path):
    """Values and scales are one entry; whatever was not converted is as it was."""
    tensors = {
        "a.weight": torch.zeros(200, 130, dtype=FP8),
        "a.weight_scale_inv": torch.ones(2, 2),
        "b.weight": torch.zeros(4, 4, dtype=torch.bfloat16),
        "a.input_scale": torch.ones(1),
        "self_attn.k_scale": torch.ones(1),
    }
    found = weights(tmp_path, tensors)

    assert found.keys() == {"a.weight", "b.weight"}
    assert (found["a.weight"].type, found["a.weight"].shape) == ("FP8_BLOCK", (200, 130))
    assert found["a.weight"].nbytes == 200 * 130 + 200 * 2 * 4


def test_mxfp4_experts_have_the_shape_of_their_values(tmp_path):
    """Under the name that plain experts have."""
    tensors = {
        "experts.down_proj_blocks": torch.zeros(3, 8, 2, 16, dtype=torch.uint8),
        "experts.down_proj_scales": torch.zeros(3, 8, 2, dtype=torch.uint8),
        "experts.down_proj_bias": torch.zeros(3, 8),
    }
    found = weights(tmp_path, tensors)

    assert found.keys() == {"experts.down_proj", "experts.down_proj_bias"}
    down = found["experts.down_proj"]
    assert (down.type, down.shape, down.nbytes) == ("MXFP4_SPLIT", (3, 8, 64), 3 * 8 * 34)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_blocks_scale_goes_to_each_of_its_rows(tmp_path, dtype):
    """Also to the rows of a last block that is cropped."""
    scales = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)
    tensors = {"a.weight": torch.zeros(130, 129, dtype=FP8), "a.weight_scale_inv": scales}

    spread = scales_of(tmp_path, tensors)
    assert spread.dtype == torch.float32
    assert spread.tolist() == [[1, 2]] * 128 + [[3, 4]] * 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), [2, 2, 2]), ((1,), [2, 2, 2]), ((3, 1), [2, 3, 4]), ((3,), [2, 3, 4])],
)
def test_one_scale_for_the_tensor_or_for_each_row(tmp_path, shape, expected):
    """In every shape that quantisers write."""
    count = max(1, torch.Size(shape).numel())
    scales = torch.arange(2, 2 + count, dtype=torch.float32).view(shape)
    tensors = {"a.weight": torch.zeros(3, 150, dtype=FP8), "a.weight_scale": scales}

    assert scales_of(tmp_path, tensors).tolist() == [[value] for value in expected]


@pytest.mark.parametrize(
    "scales",
    [torch.ones(2, 3), torch.ones(7), torch.ones(2, 2, dtype=torch.int32)],
)
def test_scales_that_do_not_fit_are_named(tmp_path, scales):
    """By shape or by type."""
    tensors = {"a.weight": torch.zeros(200, 130, dtype=FP8), "a.weight_scale_inv": scales}
    with pytest.raises(CheckpointError, match=r"a\.weight_scale_inv.*do not fit F8_E4M3"):
        weights(tmp_path, tensors)


def test_mxfp4_scales_that_do_not_fit_are_named(tmp_path):
    """One for each 32 values of a row."""
    tensors = {
        "a_blocks": torch.zeros(3, 8, 2, 16, dtype=torch.uint8),
        "a_scales": torch.zeros(3, 8, 3, dtype=torch.uint8),
    }
    with pytest.raises(CheckpointError, match=r"a_scales.*do not fit U8 of \[3, 8, 2, 16\]"):
        weights(tmp_path, tensors)


def test_a_vector_has_no_scales(tmp_path):
    """Only matrices are quantised; what else is called so stays what it is."""
    tensors = {
        "a_blocks": torch.zeros(16, dtype=torch.uint8),
        "a_scales": torch.zeros(1, dtype=torch.uint8),
    }

    assert weights(tmp_path, tensors).keys() == tensors.keys()


def test_values_without_scales_stay_what_they_are(tmp_path):
    """Whether their type can be loaded is for the binding to say."""
    found = weights(tmp_path, {"a.weight": torch.zeros(4, 4, dtype=FP8)})

    assert found["a.weight"].type == "F8_E4M3"


def test_a_way_of_quantising_that_we_lack_is_named(tmp_path):
    """The checkpoint, the method, and what is known."""
    with pytest.raises(CheckpointError, match="quantization_config: quant_method 'aqlm' is not"):
        weights(tmp_path, {"a": torch.zeros(1)}, quantization_config={"quant_method": "aqlm"})
