"""Jamba has no fixture: transformers makes it from a seed, and is the reference."""

from pathlib import Path

import gguf
import pytest
import torch
from transformers import JambaConfig, JambaForCausalLM

from tests.engine.hybrid_models import MAMBA_CHANGES, check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, make, theirs

PERIODS = {
    "attn_layer_period": 4,
    "attn_layer_offset": 2,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}
KEYS = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": [0, 0, 2, 0],
    "attention.layer_norm_rms_epsilon": 1e-6,
    "expert_count": 5,
    "expert_used_count": 2,
    "ssm.conv_kernel": 3,
    "ssm.state_size": 6,
    "ssm.inner_size": 64,
    "ssm.time_step_rank": 5,
}


@pytest.fixture(scope="module")
def made() -> JambaForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    mamba = {"mamba_d_state": 6, "mamba_d_conv": 3, "mamba_dt_rank": 5, "mamba_proj_bias": True}
    experts = {"num_experts": 5, "num_experts_per_tok": 2}
    return make(JambaForCausalLM, JambaConfig(**sizes, **PERIODS, **mamba, **experts))


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("jamba") / "hf")


def test_jamba_equals_transformers(made, folder, load_model):
    """Layers that attend and layers with experts, each in a period of its own."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_jamba_is_the_same_from_gguf(made, folder, tmp_path, load_model):
    """Layers are what their numbers of heads and their tensors say."""
    path = tmp_path / "jamba.gguf"
    write_gguf(folder, path, gguf.MODEL_ARCH.JAMBA, KEYS, changes=MAMBA_CHANGES)

    check(load_model(path, "dense", torch.float32), theirs(made))
    check_uses_all(path)
