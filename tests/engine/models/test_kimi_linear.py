"""Kimi-Linear as transformers makes it from a seed."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import KimiLinearConfig, KimiLinearForCausalLM

from engine.cache.spec import Latent, State
from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.config_reader import read_config
from engine.models.kimi_linear import Config
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, make, theirs

HEADS, LINEAR_HEADS, LINEAR_DIM, RANK, NOPE, ROPE, VALUE = 4, 4, 6, 16, 8, 4, 12
LAYERS = ["linear_attention", "linear_attention", "full_attention", "linear_attention"]
PUBLISHED = {
    "full_attn_layers": [3],
    "kda_layers": [1, 2, 4],
    "head_dim": LINEAR_DIM,
    "num_heads": LINEAR_HEADS,
    "short_conv_kernel_size": 3,
}
CONFIG: dict[str, Any] = {
    **SIZES,
    "num_key_value_heads": HEADS,
    "moe_intermediate_size": 20,
    "num_experts": 6,
    "num_experts_per_token": 2,
    "num_shared_experts": 1,
    "routed_scaling_factor": 1.7,
    "kv_lora_rank": RANK,
    "qk_nope_head_dim": NOPE,
    "qk_rope_head_dim": ROPE,
    "v_head_dim": VALUE,
    "layer_types": LAYERS,
    "linear_head_dim": LINEAR_DIM,
    "linear_num_heads": LINEAR_HEADS,
    "linear_conv_kernel_dim": 3,
    "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
}
KEYS: dict[str, Any] = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": HEADS,
    "attention.head_count_kv": [0, 0, 1, 0],
    "attention.layer_norm_rms_epsilon": 1e-5,
    "attention.kv_lora_rank": RANK,
    "attention.key_length": RANK + ROPE,
    "attention.value_length": VALUE,
    "attention.key_length_mla": NOPE + ROPE,
    "attention.value_length_mla": VALUE,
    "rope.dimension_count": ROPE,
    "ssm.conv_kernel": 3,
    "kda.head_dim": LINEAR_DIM,
    "expert_count": 6,
    "expert_used_count": 2,
    "expert_shared_count": 1,
    "expert_group_used_count": 1,
    "expert_gating_func": 2,
    "expert_feed_forward_length": 20,
    "expert_weights_scale": 1.7,
    "leading_dense_block_count": 1,
}


@pytest.fixture(scope="module")
def made() -> KimiLinearForCausalLM:
    return make(KimiLinearForCausalLM, KimiLinearConfig(**CONFIG))


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    path = save(made, tmp_path_factory.mktemp("kimi_linear") / "hf")
    # transformers writes the dense layer under the name of the others' experts; published is mlp.
    dense = "model.layers.0.block_sparse_moe."
    stored = {
        name.replace(dense, "model.layers.0.mlp."): tensor
        for name, tensor in load_file(path / "model.safetensors").items()
    }
    return write_hf(path, json.loads((path / "config.json").read_bytes()), stored)


@pytest.fixture(scope="module")
def config(folder) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_bytes())


def as_published(config: dict[str, Any]) -> dict[str, Any]:
    """With the layers' kinds where the published config.json has them."""
    ours = {"layer_types", "mlp_layer_types"} | {key for key in config if key[:7] == "linear_"}
    kept = {key: value for key, value in config.items() if key not in ours}
    return kept | {"linear_attn_config": PUBLISHED, "first_k_dense_replace": 1}


def split_kv_b(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The up-projections of keys, transposed, and of values by themselves."""
    found = dict(stored)
    for name in stored:
        if "kv_b_proj" in name:
            both = found.pop(name).view(HEADS, NOPE + VALUE, RANK)
            layer = name.split(".")[2]
            found[f"blk.{layer}.attn_k_b.weight"] = both[:, :NOPE].mT.contiguous()
            found[f"blk.{layer}.attn_v_b.weight"] = both[:, NOPE:]
    return found


@pytest.fixture(scope="module")
def gguf_path(folder, config) -> Path:
    tensors = split_kv_b(load_file(folder / "model.safetensors"))
    renames = {
        ".dt_bias": ".dt_proj.bias",
        "e_score_correction_bias": "e_score_correction.bias",
    }
    changes = {"ssm_a": lambda tensor: -torch.exp(tensor).view(LINEAR_HEADS, 1)}
    return write_gguf(
        write_hf(folder.parent / "split", config, tensors),
        folder.parent / "kimi.gguf",
        gguf.MODEL_ARCH.KIMI_LINEAR,
        KEYS,
        renames=renames,
        changes=changes,
    )


def test_kimi_linear_equals_transformers(made, folder, load_model):
    """Three convolutions, decays by channel, latent attention without positions."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_kimi_linear_is_the_same_from_gguf(made, gguf_path, load_model):
    """A layer without key and value heads keeps a state."""
    check(load_model(gguf_path, "dense", torch.float32), theirs(made))
    check_uses_all(gguf_path)


def test_published_configs_count_layers_from_one(made, folder, config, tmp_path, load_model):
    """The layers' kinds are lists in linear_attn_config."""
    stored = load_file(folder / "model.safetensors")
    path = write_hf(tmp_path, as_published(config), stored)

    check(load_model(path, "dense", torch.float32), theirs(made))


def test_each_layer_declares_what_it_keeps(folder):
    """A latent of every token, or a state of the sequence."""
    with open_checkpoint(folder) as checkpoint:
        specs = blueprint(checkpoint).model.cache_specs
    channels = 3 * LINEAR_HEADS * LINEAR_DIM
    state = State({"conv": (channels, 2), "delta": (LINEAR_HEADS, LINEAR_DIM, LINEAR_DIM)})

    assert specs == (state, state, Latent(RANK + ROPE), state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"linear_attn_config": PUBLISHED | {"kda_layers": [1, 2]}},
        {"linear_attn_config": PUBLISHED | {"kda_layers": [1, 2, 3, 4]}},
        {"linear_attn_config": None},
        {"mla_use_nope": False},
        {"mlp_layer_types": ["sparse", "dense", "sparse", "sparse"]},
    ],
    ids=["none", "both", "unknown", "rope", "dense later"],
)
def test_what_is_not_told_or_not_supported_is_refused(tmp_path, config, wrong):
    """Each layer is of one kind; nothing has positions; dense layers come first."""
    changed = as_published(config) | wrong
    write_hf(tmp_path, changed, {"lm_head.weight": torch.zeros(1, 1)})

    with open_checkpoint(tmp_path) as checkpoint, pytest.raises(CheckpointError):
        read_config(checkpoint, Config)


def test_listed_parts_must_make_up_the_whole(tmp_path, folder, config):
    """A convolution of q, k and v with a channel too few."""
    stored = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.k_conv1d.weight"
    write_hf(tmp_path, config, stored | {name: stored[name][1:]})

    with open_checkpoint(tmp_path) as checkpoint, pytest.raises(CheckpointError, match="make up"):
        blueprint(checkpoint)
