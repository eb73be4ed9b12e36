"""What the fixtures of families with layer norms do not exercise, against transformers."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    OlmoConfig,
    OlmoForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

from engine.models.falcon import alibi_slopes
from tests.engine.made_models import SIZES, config_of, make, ours, theirs, write

NO_HEAD_DIM = {key: value for key, value in SIZES.items() if key != "head_dim"}
FALCON = {
    key: value
    for key, value in NO_HEAD_DIM.items()
    if key not in {"intermediate_size", "num_key_value_heads"}
}
UNTIED = {"tie_word_embeddings": False}

VARIANTS = {
    "olmo, clamped": (OlmoForCausalLM, OlmoConfig(**NO_HEAD_DIM, clip_qkv=1.5)),
    "starcoder2, no biases": (Starcoder2ForCausalLM, Starcoder2Config(**NO_HEAD_DIM, use_bias=False)),
    "stablelm 2, 1.6B": (StableLmForCausalLM, StableLmConfig(**NO_HEAD_DIM, use_qkv_bias=True)),
    "stablelm, norms of heads, in sequence": (
        StableLmForCausalLM,
        StableLmConfig(**NO_HEAD_DIM, qk_layernorm=True),
    ),
    "phi, shared keys": (PhiForCausalLM, PhiConfig(**NO_HEAD_DIM)),
    "cohere, norms of heads": (
        CohereForCausalLM,
        CohereConfig(**NO_HEAD_DIM, use_qk_norm=True, logit_scale=0.3),
    ),
    "cohere": (CohereForCausalLM, CohereConfig(**NO_HEAD_DIM)),
    "cohere2, window, untied": (
        Cohere2ForCausalLM,
        Cohere2Config(**SIZES, sliding_window=5, logit_scale=0.3, **UNTIED),
    ),
    "falcon 11B: one norm, shared keys": (
        FalconForCausalLM,
        FalconConfig(
            **FALCON,
            new_decoder_architecture=True,
            num_kv_heads=2,
            num_ln_in_parallel_attn=1,
            ffn_hidden_size=48,
            **UNTIED,
        ),
    ),
    "falcon RW": (
        FalconForCausalLM,
        FalconConfig(**FALCON, multi_query=False, alibi=True, parallel_attn=False, bias=True),
    ),
    "falcon, a key for each head": (FalconForCausalLM, FalconConfig(**FALCON, multi_query=False)),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_are_those_of_transformers(tmp_path, name):
    """Released sizes differ in these settings."""
    model = make(*VARIANTS[name])

    assert torch.allclose(ours(write(tmp_path, model)), theirs(model), rtol=0, atol=1e-3)


def old_falcon(folder: Path, **changes: Any) -> tuple[Path, FalconForCausalLM]:
    """A Falcon like the 7B, with keys of its config.json changed once it was made."""
    model = make(FalconForCausalLM, FalconConfig(**FALCON))
    write(folder, model)
    config = config_of(model) | changes
    (folder / "config.json").write_text(json.dumps(config))
    return folder, model


def test_falcon_7b_has_one_head_of_keys_whatever_its_config_says(tmp_path):
    """Its config.json says 71."""
    path, model = old_falcon(tmp_path, num_kv_heads=4, ffn_hidden_size=None)

    assert torch.allclose(ours(path), theirs(model), rtol=0, atol=1e-3)


@pytest.mark.parametrize("num_heads", [1, 8, 12, 71])
def test_alibi_slopes_are_transformers(num_heads):
    """Also where heads are no power of two. Rounded as there, but not their products."""
    theirs = build_alibi_tensor(torch.ones(1, 2), num_heads, torch.float32)[:, 0, 1]

    assert torch.equal(torch.tensor(alibi_slopes(num_heads)).bfloat16().float(), theirs)


def test_command_r_from_gguf(tmp_path):
    """Its rows lie there as in Hugging Face's file, and norms of heads as a matrix."""
    model = make(*VARIANTS["cohere, norms of heads"])
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "command-r")
    writer.add_block_count(SIZES["num_hidden_layers"])
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_layer_norm_eps(1e-5)
    writer.add_logit_scale(0.3)
    writer.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.COMMAND_R, SIZES["num_hidden_layers"])
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            writer.add_tensor(names.get_name(name, (".weight",)), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert torch.allclose(ours(tmp_path / "m.gguf"), theirs(model), rtol=0, atol=1e-3)
