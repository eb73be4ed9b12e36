"""Safetensors of integers, against transformers on the weights that they stand for."""

import json
import re
from functools import cache
from pathlib import Path

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
from engine.models.tiling import tiled_weights_bytes
from engine.nn.decoder import CausalLM
from engine.nn.module import parameters
from engine.residency.image_store import ImageStore
from engine.residency.loader import load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import fixture_root, write_hf
from tests.engine.integer_quantisers import STYLES, Tensors
from tests.engine.made_models import make
from tests.engine.programmed import Programmed
from tests.engine.residency.images import needs_native, opened

PROMPT = [7, 201, 33, 5, 5, 118, 250, 64, 12, 90]

ROUNDED_ACTIVATIONS = 0.25
"""What 8-bit activations cost on random weights, as with GGML's formats."""


@cache
def original() -> LlamaForCausalLM:
    """Of sizes that groups divide."""
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = make(LlamaForCausalLM, config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, 0.0, 0.1)
    return model


@cache
def made(style: str) -> tuple[Tensors, Tensors]:
    """What is stored, and the plain weights that it stands for."""
    stored: Tensors = {}
    plain: Tensors = {}
    for name, weight in original().state_dict().items():
        if weight.ndim != 2 or "embed_tokens" in name or "lm_head" in name:
            stored[name] = plain[name] = weight
            continue
        quantised = STYLES[style].quantise(weight)
        plain[name] = quantised.values
        tensors = STYLES[style].store(quantised)
        stored |= {name.removesuffix("weight") + key: value for key, value in tensors.items()}
    return stored, plain


def written(folder: Path, style: str, **changed: Tensor) -> Path:
    """changed: of the first layer's q_proj."""
    stored = made(style)[0]
    first = {f"model.layers.0.self_attn.q_proj.{key}": value for key, value in changed.items()}
    config = original().config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": dict(STYLES[style].described),
    }
    return write_hf(folder, config, stored | first)


def loaded(path: Path, form: Form, dtype: torch.dtype = torch.float32) -> CausalLM:
    with open_checkpoint(path) as checkpoint:
        return load(checkpoint, form, dtype, lambda _: None, lambda: False)


@torch.no_grad()
def expected_logprobs(style: str) -> Tensor:
    tokens = torch.tensor([PROMPT])
    output = torch.func.functional_call(original(), made(style)[1], (tokens,))
    return output.logits[0].float().log_softmax(-1)


def formats(model: CausalLM) -> set[str]:
    values = (parameter.get() for parameter in parameters(model))
    return {value.format for value in values if isinstance(value, Weight)}


@pytest.mark.parametrize(
    ("style", "form"),
    [*((style, "packed") for style in STYLES), ("awq", "dense"), ("plain", "dense")],
)
def test_log_probs_are_those_of_the_unpacked_weights(tmp_path, style: str, form: Form):
    """Of every quantiser's layout, with and without zeros, in groups of every size."""
    model = loaded(written(tmp_path, style), form)

    expected = expected_logprobs(style)
    assert torch.allclose(logprobs_of(model, PROMPT), expected, rtol=0, atol=1e-4)
    assert formats(model) == ({"dense", STYLES[style].kept} if form == "packed" else {"dense"})


@pytest.mark.parametrize("style", STYLES)
def test_a_weight_is_exactly_what_its_codes_say(tmp_path, style: str):
    """Bit for bit in float32, as it lies in its image too."""
    path = written(tmp_path, style)
    expected = made(style)[1]["model.layers.1.mlp.down_proj.weight"]
    weight = loaded(path, "packed").model.layers[1].mlp.down_proj.weight

    assert torch.equal(weight.unpack(torch.float32), expected)


@needs_native
@pytest.mark.parametrize("style", STYLES)
def test_a_program_stays_near_the_unpacked_weights(tmp_path, style: str):
    """Natively run; activations are rounded where codes stay codes."""
    programmed = Programmed(written(tmp_path, style), "packed", torch.float32)

    found, expected = logprobs_of(programmed, PROMPT), expected_logprobs(style)
    tolerance = 1e-4 if STYLES[style].kept == "dense" else ROUNDED_ACTIVATIONS
    assert float((found - expected).abs().max()) < tolerance


@needs_native
@pytest.mark.parametrize("style", STYLES)
def test_an_image_has_the_stored_values(tmp_path, style: str):
    """And exactly the size that headers say."""
    path, dtype = written(tmp_path, style), torch.bfloat16
    with open_checkpoint(path) as checkpoint:
        foreseen = tiled_weights_bytes(blueprint(checkpoint), dtype)
    model, _ = opened(path, ImageStore(None), dtype)
    weight = model.model.layers[0].self_attn.k_proj.weight
    expected = made(style)[1]["model.layers.0.self_attn.k_proj.weight"]
    precision = dtype if STYLES[style].kept == "dense" else torch.float32

    assert weight.is_tiled
    assert torch.equal(weight.unpack(torch.float32), expected.to(precision).float())
    assert foreseen == model.weights_bytes


@pytest.mark.parametrize("style", ["gptq", "awq", "plain"])
def test_packed_form_takes_what_its_card_says(tmp_path, style: str):
    """Codes, and a scale and a zero for each run."""
    path = written(tmp_path, style)
    with open_checkpoint(path) as checkpoint:
        model = load(checkpoint, "packed", torch.bfloat16, lambda _: None, lambda: False)
        card = describe(checkpoint, torch.bfloat16, native=False)
    (packed,) = (each for each in card.footprints if each.form == "packed")

    assert packed.weights_bytes == sum(each.get().nbytes for each in parameters(model))
    assert card.quantization == {"gptq": "GPTQ-INT4", "awq": "AWQ-INT4", "plain": "INT8"}[style]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"qweight": torch.zeros(16, 128, dtype=torch.int64)}, "I64 of .* not a matrix of I32"),
        ({"qweight": torch.zeros(16, 120, dtype=torch.int32)}, r"scales'.* does not fit"),
        ({"qweight": torch.zeros(8, 128, dtype=torch.int32)}, r"4 groups of 32 in rows of 64"),
        ({"scales": torch.ones(3, 128)}, "3 groups of 32 in rows of 128"),
        ({"scales": torch.ones(())}, r"F32 of \[\], does not fit"),
        ({"scales": torch.ones(4, 128, dtype=torch.int32)}, "I32 of .* does not fit"),
        ({"qzeros": torch.zeros(4, 15, dtype=torch.int32)}, r"qzeros'.* does not fit"),
        ({"g_idx": torch.zeros(127, dtype=torch.int32)}, r"g_idx'.* does not fit"),
    ],
)
def test_sizes_that_do_not_fit_are_named(tmp_path, changed: Tensors, named: str):
    """From headers, before anything is read."""
    path = written(tmp_path, "gptq", **changed)
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match=named):
        blueprint(checkpoint)


@pytest.mark.parametrize(
    ("style", "g_idx", "named"),
    [
        ("gptq, reordered", [4] * 128, "names groups beyond the 4"),
        ("gptq, reordered", [-1] * 128, "names groups beyond the 4"),
        ("gptq", [0] * 128, "another order without desc_act"),
    ],
)
def test_an_order_of_groups_that_is_none_is_refused(tmp_path, style: str, g_idx, named: str):
    """It is found only when it is read."""
    path = written(tmp_path, style, g_idx=torch.tensor(g_idx, dtype=torch.int32))
    with pytest.raises(CheckpointError, match=named):
        loaded(path, "packed")


def test_biases_of_zeros_are_done_without(tmp_path):
    """Old quantisers gave every module one; any other would be missed."""
    path = written(tmp_path / "zeros", "gptq", bias=torch.zeros(128))
    other = written(tmp_path / "other", "gptq", bias=torch.full((128,), 1e-3))

    assert formats(loaded(path, "packed")) == {"dense", "INT4_32"}
    with pytest.raises(CheckpointError, match=r"no use for: .*q_proj\.bias"):
        loaded(other, "packed")


@pytest.mark.parametrize("model", ["mixtral-moe", "ernie45-dense", "deepseek3-noaux", "phi3-mini"])
@pytest.mark.parametrize("style", ["gptq", "plain"])
def test_groups_go_where_their_rows_go(tmp_path, model: str, style: str):
    """Into stacks of experts, permuted heads, heads of latents, parts of fused matrices."""
    source = fixture_root() / model / "hf"
    config = json.loads((source / "config.json").read_bytes())
    stored: Tensors = {}
    plain: Tensors = {}
    for file in source.glob("*.safetensors"):
        for name, weight in load_file(file).items():
            if not re.search(r"(proj\w*|w[123])\.weight$", name) or weight.shape[1] % 32:
                stored[name] = plain[name] = weight.float()
                continue
            quantised = STYLES[style].quantise(weight.float())
            plain[name] = quantised.values
            tensors = STYLES[style].store(quantised)
            stored |= {name.removesuffix("weight") + key: value for key, value in tensors.items()}
    described = {"quantization_config": dict(STYLES[style].described)}
    paths = [
        write_hf(tmp_path / "integers", config | described, stored),
        write_hf(tmp_path / "f32", config, plain),
    ]
    found, expected = (logprobs_of(loaded(path, "packed"), PROMPT) for path in paths)

    assert len(stored) > len(plain)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_codes_without_scales_are_refused(tmp_path):
    """What is missing is named."""
    stored = {key: value for key, value in made("awq")[0].items() if "1.mlp.up_proj.s" not in key}
    config = original().config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": dict(STYLES["awq"].described),
    }
    path = write_hf(tmp_path, config, stored)
    with (
        open_checkpoint(path) as checkpoint,
        pytest.raises(CheckpointError, match=r"stored without .*up_proj\.scales"),
    ):
        blueprint(checkpoint)
