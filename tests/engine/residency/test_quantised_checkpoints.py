"""Safetensors with FP8 weights, against transformers on the weights that they stand for."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from engine.api import Form
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.kernels.weight import Weight
from engine.models.blueprint import blueprint
from engine.models.card import describe
from engine.nn.decoder import CausalLM
from engine.nn.module import parameters
from engine.residency.loader import load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import fixture_root, write_hf

PROMPT = [7, 201, 33, 5, 5, 118, 250, 64, 12, 90]
FP8 = torch.float8_e4m3fn
LARGEST = 448.0
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Scheme:
    """How a quantiser picks scales. block: rows and columns that share one; 0 is all of them."""

    block: tuple[int, int]
    suffix: str
    described: dict[str, Any]
    scale_dtype: torch.dtype = torch.float32

    def quantise(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, scales, and the values that both stand for, block by block."""
        rows, columns = (size or full for size, full in zip(self.block, weight.shape, strict=True))
        codes, values = torch.empty_like(weight, dtype=FP8), torch.empty_like(weight)
        scales = []
        for top in range(0, weight.shape[0], rows):
            for left in range(0, weight.shape[1], columns):
                block = (slice(top, top + rows), slice(left, left + columns))
                scale = (weight[block].abs().max() / LARGEST).to(self.scale_dtype)
                codes[block] = (weight[block] / scale.float()).to(FP8)
                values[block] = codes[block].float() * scale.float()
                scales.append(scale)
        return codes, torch.stack(scales).view(-(-weight.shape[0] // rows), -1), values


SCHEMES = {
    "blocks": Scheme(
        (128, 128),
        "_scale_inv",
        {
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
            "modules_to_not_convert": ["lm_head", "model.layers.1.mlp.up_proj"],
        },
    ),
    "rows": Scheme(
        (1, 0),
        "_scale",
        {"quant_method": "compressed-tensors", "format": "float-quantized"},
        torch.bfloat16,
    ),
    "tensors": Scheme((0, 0), "_scale", {"quant_method": "modelopt", "quant_algo": "FP8"}),
}
NOT_CONVERTED = ("embed_tokens", "lm_head", "norm", "layers.1.mlp.up_proj")


@cache
def original() -> LlamaForCausalLM:
    """Of sizes that are no multiples of 128."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=192,
        intermediate_size=320,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        initializer_range=0.15,
    )
    return LlamaForCausalLM(config).eval()


def quantised(folder: Path, scheme: Scheme) -> tuple[Path, Tensors]:
    """A checkpoint, and the plain weights that it stands for."""
    stored: Tensors = {}
    plain: Tensors = {}
    for name, weight in original().state_dict().items():
        if any(part in name for part in NOT_CONVERTED):
            stored[name] = plain[name] = weight
        else:
            codes, scales, plain[name] = scheme.quantise(weight)
            stored |= {name: codes, f"{name}{scheme.suffix}": scales}
            stored[f"{name.removesuffix('weight')}input_scale"] = torch.ones(1)
    config = original().config.to_dict() | {"quantization_config": scheme.described}
    config["architectures"] = ["LlamaForCausalLM"]
    return write_hf(folder, config, stored), plain


def loaded(path: Path, form: Form, dtype: torch.dtype = torch.float32) -> CausalLM:
    with open_checkpoint(path) as checkpoint:
        return load(checkpoint, form, dtype, lambda _: None, lambda: False)


@torch.no_grad()
def expected_logprobs(weights: Tensors) -> Tensor:
    output = torch.func.functional_call(original(), weights, (torch.tensor([PROMPT]),))
    return output.logits[0].float().log_softmax(-1)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("form", ["dense", "packed"])
def test_log_probs_are_those_of_the_unpacked_weights(tmp_path, name: str, form: Form):
    """In both forms, with edge blocks cropped and some modules not converted."""
    path, plain = quantised(tmp_path, SCHEMES[name])
    model = loaded(path, form)

    assert torch.allclose(logprobs_of(model, PROMPT), expected_logprobs(plain), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SCHEMES)
def test_packed_form_keeps_a_byte_for_each_value(tmp_path, name: str):
    """What memory it takes is what its card says."""
    path, _ = quantised(tmp_path, SCHEMES[name])
    with open_checkpoint(path) as checkpoint:
        model = load(checkpoint, "packed", torch.bfloat16, lambda _: None, lambda: False)
        card = describe(checkpoint, torch.bfloat16, native=False)
    values = [parameter.get() for parameter in parameters(model)]
    formats = {value.format for value in values if isinstance(value, Weight)}

    assert formats == {"dense", "FP8_BLOCK" if name == "blocks" else "FP8_ROW"}
    (packed,) = (each for each in card.footprints if each.form == "packed")
    tables = sum(value.nbytes for value in values)
    assert packed.weights_bytes == tables
    assert card.quantization == "FP8"


@pytest.mark.parametrize("name", ["mixtral-moe", "deepseek3-noaux", "phi3-mini", "llama-bf16"])
@pytest.mark.parametrize("form", ["dense", "packed"])
def test_scales_go_where_their_rows_go(tmp_path, name: str, form: Form):
    """Into stacks of experts, heads of latents, parts of fused matrices, permuted heads."""
    source = fixture_root() / name / "hf"
    config = json.loads((source / "config.json").read_bytes())
    weights = {
        key: value.float()
        for file in source.glob("*.safetensors")
        for key, value in load_file(file).items()
    }
    stored: Tensors = {}
    plain: Tensors = {}
    for key, weight in weights.items():
        if re.search(r"(proj\w*|w[123])\.weight$", key):
            codes, scales, plain[key] = SCHEMES["rows"].quantise(weight)
            stored |= {key: codes, f"{key}_scale": scales}
        else:
            stored[key] = plain[key] = weight
    paths = [write_hf(tmp_path / "fp8", config, stored), write_hf(tmp_path / "f32", config, plain)]
    found, expected = (logprobs_of(loaded(path, form), PROMPT) for path in paths)

    assert len(stored) > len(plain)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "kept"), [("hf", "MXFP4_SPLIT"), ("gptoss-mxfp4-BF16.gguf", "MXFP4")]
)
def test_experts_in_mxfp4_stay_so(file: str, kept: str):
    """In either order of their nibbles; the rest of the model is plain."""
    path = fixture_root() / "gptoss-mxfp4" / file
    values = [parameter.get() for parameter in parameters(loaded(path, "packed", torch.bfloat16))]
    formats = [value.format for value in values if isinstance(value, Weight)]

    assert set(formats) == {"dense", kept}


def test_dense_form_is_rounded_to_the_dtype(tmp_path):
    """A product in float32, then bfloat16."""
    path, plain = quantised(tmp_path, SCHEMES["blocks"])
    model = loaded(path, "dense", torch.bfloat16)
    weight = model.model.layers[0].mlp.down_proj.weight

    assert torch.equal(weight.data, plain["model.layers.0.mlp.down_proj.weight"].bfloat16())


def test_values_without_their_scales_are_refused(tmp_path):
    """The type is named."""
    weight = "model.layers.0.mlp.down_proj.weight"
    tensors = original().state_dict()
    config = original().config.to_dict() | {"architectures": ["LlamaForCausalLM"]}
    path = write_hf(tmp_path, config, tensors | {weight: tensors[weight].to(FP8)})
    with open_checkpoint(path) as checkpoint, pytest.raises(Exception, match="F8_E4M3"):
        blueprint(checkpoint)


def test_a_way_of_quantising_that_we_lack_is_refused_by_name(tmp_path):
    """Before any tensor is looked for."""
    config = original().config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {"quant_method": "aqlm", "bits": 4},
    }
    path = write_hf(tmp_path, config, {"model.norm.weight": torch.ones(192)})
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match="'aqlm'"):
        blueprint(checkpoint)
