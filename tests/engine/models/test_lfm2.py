"""LFM2-MoE has no fixture: transformers makes one from a seed, and is the reference."""

from pathlib import Path

import gguf
import pytest
import torch
from transformers import Lfm2Config, Lfm2ForCausalLM, Lfm2MoeConfig, Lfm2MoeForCausalLM

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, config_of, make, stored, theirs

LAYERS = ["conv", "full_attention", "conv", "conv"]


@pytest.fixture(scope="module")
def made() -> Lfm2MoeForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    experts = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 20}
    scale = {"num_dense_layers": 1, "routed_scaling_factor": 1.7}
    config = Lfm2MoeConfig(**sizes, **experts, **scale, layer_types=LAYERS, conv_bias=True)
    return make(Lfm2MoeForCausalLM, config)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("lfm2_moe") / "hf")


@pytest.fixture(scope="module")
def gguf_path(folder) -> Path:
    keys = {
        "block_count": 4,
        "context_length": 256,
        "embedding_length": 32,
        "feed_forward_length": 48,
        "attention.head_count": 4,
        "attention.head_count_kv": [0, 2, 0, 0],
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 1e6,
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_feed_forward_length": 20,
        "expert_gating_func": 2,
        "expert_weights_scale": 1.7,
        "leading_dense_block_count": 1,
        "shortconv.l_cache": 3,
    }
    renames = {
        "experts.w1": "experts.gate_proj",
        "experts.w2": "experts.down_proj",
        "experts.w3": "experts.up_proj",
        ".expert_bias": ".expert_bias.bias",
    }
    changes = {"shortconv.conv.weight": lambda tensor: tensor.squeeze(1)}
    path = folder.parent / "lfm2moe.gguf"
    arch = gguf.MODEL_ARCH.LFM2MOE
    return write_gguf(folder, path, arch, keys, renames=renames, changes=changes)


def test_lfm2_moe_equals_transformers(made, folder, load_model):
    """Convolutions with biases; experts by sigmoids that a bias corrects, after a dense layer."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_lfm2_moe_is_the_same_from_gguf(made, gguf_path, load_model):
    """The layers' kinds from their numbers of heads, and the scale of experts where it is given."""
    check(load_model(gguf_path, "dense", torch.float32), theirs(made))
    check_uses_all(gguf_path)


def test_sizes_and_layers_as_older_files_have_them(tmp_path, load_model):
    """Two thirds of a size, times a factor, up to the next multiple; layers that attend by index."""
    sizes = SIZES | {"block_multiple_of": 16, "block_ffn_dim_multiplier": 1.5}
    model = make(Lfm2ForCausalLM, Lfm2Config(**sizes, full_attn_idxs=[1, 3]))
    config = {key: value for key, value in config_of(model).items() if key != "layer_types"}
    path = write_hf(tmp_path, config, stored(model))
    with open_checkpoint(path) as checkpoint:
        assert blueprint(checkpoint).config.intermediate_size == 48

    check(load_model(path, "dense", torch.float32), theirs(model))


def test_layer_types_must_be_known(made, tmp_path):
    """A kind of layer that is none of ours is refused."""
    config = config_of(made) | {"layer_types": ["conv", "conv", "else", "conv"]}
    path = write_hf(tmp_path, config, stored(made))
    with open_checkpoint(path) as checkpoint, pytest.raises(CheckpointError, match="layer_types"):
        blueprint(checkpoint)
