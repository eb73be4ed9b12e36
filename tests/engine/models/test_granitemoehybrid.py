"""Granite 4 hybrids have no fixture: transformers makes them from a seed, and is the reference."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import (
    MAMBA_CHANGES,
    MAMBA_RENAMES,
    check,
    check_uses_all,
    heads_as_columns,
    permuted,
    save,
    write_gguf,
)
from tests.engine.made_models import SIZES, config_of, make, stored, theirs

MULTIPLIERS = {
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.25,
    "residual_multiplier": 0.4,
    "logits_scaling": 2.0,
}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "shared_intermediate_size": 24,
}
LAYERS = ["linear_attention", "full_attention", "linear_attention", "linear_attention"]
KINDS: Mapping[str, Mapping[str, Any]] = {
    "experts": {"num_local_experts": 5, "num_experts_per_tok": 2, "mamba_proj_bias": True},
    "dense": {"num_local_experts": 0, "mamba_conv_bias": False},
    "rope": {"num_local_experts": 0, "position_embedding_type": "rope"},
}
KEYS = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "expert_shared_feed_forward_length": 24,
    "attention.head_count": 4,
    "attention.head_count_kv": [0, 2, 0, 0],
    "attention.layer_norm_rms_epsilon": 1e-6,
    "attention.scale": 0.25,
    "embedding_scale": 3.0,
    "residual_scale": 0.4,
    "logit_scale": 2.0,
    "rope.freq_base": 10000.0,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 16,
    "ssm.group_count": 2,
    "ssm.inner_size": 64,
    "ssm.time_step_rank": 8,
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(kind) -> GraniteMoeHybridForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    settings = sizes | MULTIPLIERS | MAMBA | dict(KINDS[kind])
    config = GraniteMoeHybridConfig(**settings, layer_types=LAYERS)
    return make(GraniteMoeHybridForCausalLM, config)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("granite") / "hf")


@pytest.fixture(scope="module")
def gguf_path(folder, kind) -> Path:
    has_experts = KINDS[kind]["num_local_experts"] > 0
    experts = {"expert_count": 5, "expert_used_count": 2} if has_experts else {}
    shared = "_shexp" if has_experts else ""
    splits = {
        "block_sparse_moe.input_linear": ("ffn_gate_exps", "ffn_up_exps"),
        "shared_mlp.input_linear": (f"ffn_gate{shared}", f"ffn_up{shared}"),
    }
    changes = heads_as_columns(MAMBA_CHANGES) | {
        "attn_q.weight": permuted(4),
        "attn_k.weight": permuted(2),
        "ssm_norm.weight": lambda tensor: tensor.view(2, -1),
    }
    path = folder.parent / f"granite-{kind}.gguf"
    return write_gguf(
        folder,
        path,
        gguf.MODEL_ARCH.GRANITE_HYBRID,
        KEYS | experts | {"rope.scaling.finetuned": kind == "rope"},
        renames=MAMBA_RENAMES | ({} if has_experts else {"ffn_down_shexp": "ffn_down"}),
        changes=changes,
        splits=splits,
    )


def test_granite_equals_transformers(made, folder, load_model):
    """Experts beside a shared MLP, that MLP alone, and layers that attend with a rope."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_granite_is_the_same_from_gguf(made, gguf_path, load_model):
    """Groups of the norm in rows, heads of q and k permuted, and a rope where the file says so."""
    check(load_model(gguf_path, "dense", torch.float32), theirs(made))
    check_uses_all(gguf_path)


def test_heads_must_make_up_the_channels(tmp_path):
    """A width that the heads do not fill is refused."""
    config = GraniteMoeHybridConfig(**SIZES | MAMBA, layer_types=LAYERS)
    model = make(GraniteMoeHybridForCausalLM, config)
    path = write_hf(tmp_path, config_of(model) | {"mamba_n_heads": 5}, stored(model))
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match="5 heads of 8"):
        blueprint(checkpoint)
