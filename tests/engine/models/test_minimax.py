"""MiniMax-Text-01 as transformers makes it from a seed, and as the hub's files say it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import MiniMaxConfig, MiniMaxForCausalLM

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, config_of, make, stored, theirs

LAYERS = ["linear_attention", "full_attention", "linear_attention", "linear_attention"]
FACTORS = {
    "full_attn_alpha_factor": 1.5,
    "full_attn_beta_factor": 0.9,
    "linear_attn_alpha_factor": 1.2,
    "linear_attn_beta_factor": 1.1,
    "mlp_alpha_factor": 2.0,
    "mlp_beta_factor": 0.8,
}
ONE_ALPHA = {key: 1.7 if "alpha" in key else 1.0 for key in FACTORS}
HUB_WORDS = {"full_attn": "full_attention", "linear_attn": "linear_attention", "mlp": "mlp"}
ONES_PER_LAYER = [0, 1, 0, 0]


def made(factors: Mapping[str, float]) -> MiniMaxForCausalLM:
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "block_size": 8}
    config = MiniMaxConfig(**SIZES, **experts, **factors, layer_types=LAYERS)
    return make(MiniMaxForCausalLM, config)


def hub_config(model: MiniMaxForCausalLM) -> dict[str, Any]:
    """Its config with the keys of the original's."""
    config = config_of(model) | {"attn_type_list": ONES_PER_LAYER, "postnorm": True}
    for key in FACTORS:
        part, factor, _ = key.rsplit("_", 2)
        config[f"layernorm_{HUB_WORDS[part]}_{factor}"] = config.pop(key)
    del config["layer_types"]
    return config | {"architectures": ["MiniMaxText01ForCausalLM"], "model_type": "minimax_text_01"}


@pytest.mark.parametrize("config", [config_of, hub_config])
def test_minimax_equals_transformers(config, tmp_path: Path, load_model):
    """Six factors, each where it belongs, by transformers' keys and by the original's."""
    model = made(FACTORS)
    path = save(model, tmp_path)
    (path / "config.json").write_text(json.dumps(config(model)))

    check(load_model(path, "dense", torch.float32), theirs(model))


def test_minimax_is_the_same_from_gguf(tmp_path: Path, load_model):
    """One factor for all norms; layers that have a gate are linear."""
    model = made(ONE_ALPHA)
    keys = {
        "block_count": 4,
        "context_length": 256,
        "embedding_length": 32,
        "feed_forward_length": 48,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.key_length": 8,
        "attention.value_length": 8,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 8,
        "rope.freq_base": 1e6,
        "expert_count": 4,
        "expert_used_count": 2,
        "residual_scale": 1.7,
    }
    parts = {
        "self_attn.qkv_proj": "attn_qkv",
        "self_attn.output_gate": "attn_gate",
        "self_attn.out_proj": "attn_output",
        "self_attn.norm": "attn_norm_2",
        "block_sparse_moe.gate": "ffn_gate_inp",
        "experts.w1": "ffn_gate_exps",
        "experts.w2": "ffn_down_exps",
        "experts.w3": "ffn_up_exps",
    }
    path = write_gguf(
        save(model, tmp_path / "hf"),
        tmp_path / "minimax.gguf",
        gguf.MODEL_ARCH.LLAMA,
        keys,
        splits={theirs_: (ours,) for theirs_, ours in parts.items()},
        leave_out=("_decay", "slope_rate"),
        architecture="minimax-01",
    )

    check(load_model(path, "dense", torch.float32), theirs(model))
    check_uses_all(path)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"layer_types": None}, "neither layer_types nor attn_type_list"),
        ({"layer_types": LAYERS[:3]}, "3 layer types, 4 layers"),
        ({"postnorm": False}, "postnorm"),
        ({"shared_intermediate_size": 8}, "shared_intermediate_size"),
    ],
)
def test_what_is_not_supported_is_refused(config, complaint, tmp_path):
    """By name."""
    model = made(FACTORS)
    path = write_hf(tmp_path, config_of(model) | config, stored(model))
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match=complaint):
        blueprint(checkpoint)
