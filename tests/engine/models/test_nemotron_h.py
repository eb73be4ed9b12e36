"""Nemotron 3, with experts, has no fixture: transformers makes it from a seed."""

from pathlib import Path

import gguf
import pytest
import torch
from transformers import NemotronHConfig, NemotronHForCausalLM

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import (
    MAMBA_CHANGES,
    MAMBA_RENAMES,
    check,
    check_uses_all,
    heads_as_columns,
    save,
    write_gguf,
)
from tests.engine.made_models import SIZES, config_of, make, stored, theirs

LAYERS = ["linear_attention", "moe", "full_attention", "mlp", "moe"]
EXPERTS = {
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "moe_shared_expert_intermediate_size": 28,
    "routed_scaling_factor": 1.6,
    "n_group": 2,
    "topk_group": 1,
}
MAMBA = {"mamba_num_heads": 4, "mamba_head_dim": 12, "ssm_state_size": 16, "n_groups": 2}
KEYS = {
    "block_count": 5,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": [0, 0, 0, 48, 0],
    "attention.head_count": 4,
    "attention.head_count_kv": [0, 0, 2, 0, 0],
    "attention.key_length": 8,
    "attention.value_length": 8,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 16,
    "ssm.group_count": 2,
    "ssm.inner_size": 48,
    "ssm.time_step_rank": 4,
    "expert_count": 6,
    "expert_used_count": 2,
    "expert_feed_forward_length": 20,
    "expert_shared_feed_forward_length": 28,
    "expert_shared_count": 1,
    "expert_weights_norm": True,
    "expert_weights_scale": 1.6,
    "expert_group_count": 2,
    "expert_group_used_count": 1,
}


@pytest.fixture(scope="module", params=[None, 16], ids=["wide", "latent"])
def latent_size(request) -> int | None:
    return request.param


@pytest.fixture(scope="module")
def made(latent_size) -> NemotronHForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "num_hidden_layers"}
    settings = sizes | MAMBA | EXPERTS | {"moe_latent_size": latent_size}
    return make(NemotronHForCausalLM, NemotronHConfig(**settings, layers_block_type=LAYERS))


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("nemotron") / "hf")


def test_nemotron_equals_transformers(made, folder, load_model):
    """Experts without gates, as wide as the stream or narrower, in the best of two groups."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_nemotron_is_the_same_from_gguf(made, folder, latent_size, tmp_path, load_model):
    """Layers are what their tensors say; the gated norm's groups are stored in rows."""
    changes = heads_as_columns(MAMBA_CHANGES) | {
        "ssm_norm.weight": lambda tensor: tensor.view(2, -1)
    }
    path = write_gguf(
        folder,
        tmp_path / "nemotron.gguf",
        gguf.MODEL_ARCH.NEMOTRON_H_MOE,
        KEYS | ({"moe_latent_size": latent_size} if latent_size else {}),
        renames=MAMBA_RENAMES | {"e_score_correction_bias": "e_score_correction.bias"},
        changes=changes,
        splits={
            "mixer.experts.up_proj": ("ffn_up_exps",),
            "mixer.experts.down_proj": ("ffn_down_exps",),
        },
    )

    check(load_model(path, "dense", torch.float32), theirs(made))
    check_uses_all(path)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"layers_block_type": [*LAYERS[:4], "else"]}, "unknown type 'else'"),
        ({"layers_block_type": None, "hybrid_override_pattern": "ME*"}, "layer types"),
        ({"num_experts_per_tok": 7}, "7 experts per token"),
    ],
)
def test_what_makes_no_sense_is_refused(made, config, complaint, tmp_path):
    """By what is wrong with it."""
    whole = config_of(made) | {"num_hidden_layers": 5} | config
    path = write_hf(tmp_path, whole, stored(made))
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match=complaint):
        blueprint(checkpoint)


def test_a_pattern_of_letters(made, tmp_path, load_model):
    """As published files have it in place of a list."""
    config = config_of(made) | {"hybrid_override_pattern": "ME*-E", "layers_block_type": None}
    path = write_hf(tmp_path, config, stored(made))

    check(load_model(path, "dense", torch.float32), theirs(made))
