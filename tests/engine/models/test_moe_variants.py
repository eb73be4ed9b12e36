"""Settings of the families with experts that no fixture has, against transformers from a seed."""

from functools import partial
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PhimoeConfig,
    PhimoeForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.residency.loader import load
from tests.engine.batches import logprobs_of
from tests.engine.fixture_models import Variant, write_hf
from tests.engine.made_models import PROMPT, SIZES, config_of, make, ours, theirs, write

EXPERTS: dict[str, Any] = {"num_local_experts": 6, "num_experts_per_tok": 2}
QWEN_EXPERTS: dict[str, Any] = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
}
LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "original_max_position_embeddings": 8,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 1.5, 2.0, 4.0],
    "short_mscale": 1.1,
    "long_mscale": 1.3,
}

MADE = {
    "mixtral, a window": (MixtralForCausalLM, MixtralConfig(**SIZES, **EXPERTS, sliding_window=5)),
    "qwen2_moe, dense layers between": (
        Qwen2MoeForCausalLM,
        Qwen2MoeConfig(
            **{key: value for key, value in SIZES.items() if key != "head_dim"},
            **QWEN_EXPERTS,
            shared_expert_intermediate_size=40,
            decoder_sparse_step=2,
            mlp_only_layers=[1],
            norm_topk_prob=True,
        ),
    ),
    "qwen3_moe, weights as they are": (
        Qwen3MoeForCausalLM,
        Qwen3MoeConfig(**SIZES, **QWEN_EXPERTS, norm_topk_prob=False, mlp_only_layers=[0]),
    ),
    "glm4_moe, groups": (
        Glm4MoeForCausalLM,
        Glm4MoeConfig(
            **SIZES,
            num_experts_per_tok=3,
            n_routed_experts=8,
            n_group=4,
            topk_group=2,
            moe_intermediate_size=24,
            n_shared_experts=2,
            first_k_dense_replace=2,
            routed_scaling_factor=1.7,
        ),
    ),
    "gpt_oss, every other layer slides": (
        GptOssForCausalLM,
        GptOssConfig(
            **SIZES,
            **EXPERTS,
            sliding_window=5,
            swiglu_limit=1.5,
            rope_parameters={"rope_theta": 1e4},
        ),
    ),
    "phimoe, a window": (
        PhimoeForCausalLM,
        PhimoeConfig(
            **{key: value for key, value in SIZES.items() if key != "head_dim"},
            **EXPERTS,
            sliding_window=9,
            rope_parameters=LONGROPE | {"original_max_position_embeddings": 64},
            router_jitter_noise=0.4,
        ),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_every_setting_computes_what_transformers_does(name, tmp_path):
    """Keys and tensors as transformers 5 saves them, values that change the computation."""
    model = make(*MADE[name])
    model.save_pretrained(tmp_path)

    assert torch.allclose(ours(tmp_path), theirs(model), rtol=0, atol=1e-4)


def test_phimoe_has_long_frequencies_for_long_sequences(tmp_path):
    """As published; transformers 5.23 asks for frequencies without saying how long they are for."""
    architecture, config = MADE["phimoe, a window"]
    model = make(architecture, PhimoeConfig(**config.to_dict() | {"rope_parameters": LONGROPE}))
    model.save_pretrained(tmp_path)
    rope = model.model.rotary_emb
    rope.rope_init_fn = partial(rope.rope_init_fn, seq_len=len(PROMPT))

    assert torch.allclose(ours(tmp_path), theirs(model), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["qwen3_moe, weights as they are", "glm4_moe, groups"])
def test_experts_may_be_stacked(name, tmp_path):
    """Gate over up in one tensor a layer, as transformers has them in memory."""
    model = make(*MADE[name])

    assert torch.allclose(ours(write(tmp_path, model)), theirs(model), rtol=0, atol=1e-4)


@pytest.mark.parametrize("form", ["dense", "packed"])
def test_experts_may_be_in_fp8(tmp_path, form):
    """One tensor and one set of scales each, as MiniMax and DeepSeek publish them."""
    model = make(*MADE["mixtral, a window"])
    model.save_pretrained(tmp_path / "saved")
    exact = load_file(tmp_path / "saved/model.safetensors")
    stored = dict(exact)
    for name in [name for name in exact if ".experts." in name]:
        scale = exact[name].abs().max().view(1, 1) / 448
        stored[name] = (exact[name] / scale).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale
        exact[name] = stored[name].float() * scale
    method = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    config = config_of(model)
    paths = (
        write_hf(tmp_path / "exact", config, exact),
        write_hf(tmp_path / "fp8", config | {"quantization_config": method}, stored),
    )
    found = []
    for path in paths:
        with open_checkpoint(path) as checkpoint:
            loaded = load(checkpoint, form, torch.float32, lambda _: None, lambda: False)
            found.append(logprobs_of(loaded, PROMPT))

    assert torch.allclose(*found, rtol=0, atol=1e-5)


def test_more_experts_a_token_than_there_are_is_refused(tmp_path):
    """A config of no sense, not an error in the first forward."""
    model = make(*MADE["mixtral, a window"])
    path = write_hf(tmp_path, config_of(model) | {"num_experts_per_tok": 7}, model.state_dict())

    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match="7 experts"):
        blueprint(checkpoint)


def rewritten(source, target, change):
    """A copy of a GGUF file whose tensors `change` has renamed, split or joined."""
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    for name, field in reader.fields.items():
        if name.startswith(f"{arch}."):
            writer.add_key_value(name, field.contents(), field.types[0])
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    types = {name: tensor.tensor_type for name, tensor in tensors.items()}
    for name, data, kind in change({name: t.data for name, t in tensors.items()}, types):
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def one_by_one(data, types):
    for name, values in data.items():
        if "_exps." not in name:
            yield name, values, types[name]
            continue
        for index, expert in enumerate(values):
            yield name.replace("_exps.", f".{index}."), expert, types[name]


def gate_over_up(data, types):
    for name, values in data.items():
        if "_gate_exps." in name:
            up = data[name.replace("_gate_", "_up_")]
            joined = np.concatenate([values, up], axis=1)
            yield name.replace("_gate_", "_gate_up_"), joined, types[name]
        elif "_up_exps." not in name:
            yield name, values, types[name]


@pytest.mark.parametrize("change", [one_by_one, gate_over_up])
@pytest.mark.parametrize("form", ["dense", "packed"])
def test_experts_lie_in_gguf_in_other_ways_too(tmp_path, full_fixtures, change, form):
    """A tensor for each expert, as in 2023, or gate and up in one."""
    variant = Variant("mixtral-q", "mixtral-q-Q8_0.gguf")
    found = []
    for path in (variant.path, rewritten(variant.path, tmp_path / "m.gguf", change)):
        with open_checkpoint(path) as checkpoint:
            model = load(checkpoint, form, torch.float32, lambda _: None, lambda: False)
            found.append(logprobs_of(model, variant.prompts[0]))

    assert torch.equal(*found)
