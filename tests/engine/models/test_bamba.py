"""Bamba has no fixture: transformers makes it from a seed, and is the reference."""

from pathlib import Path

import gguf
import pytest
import torch
from transformers import BambaConfig, BambaForCausalLM

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
from tests.engine.made_models import SIZES, make, theirs

KEYS = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": [0, 0, 2, 0],
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": 4,
    "rope.freq_base": 10000.0,
    "rope.scaling.finetuned": True,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 16,
    "ssm.group_count": 1,
    "ssm.inner_size": 64,
    "ssm.time_step_rank": 4,
}


@pytest.fixture(scope="module")
def made() -> BambaForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    mamba = {"mamba_n_heads": 4, "mamba_d_state": 16}
    return make(BambaForCausalLM, BambaConfig(**sizes, **mamba, attn_layer_indices=[2]))


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("bamba") / "hf")


def test_bamba_equals_transformers(made, folder, load_model):
    """Attention at the layers that are named, by a rope of half of each head."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_bamba_as_granite_in_gguf(made, folder, tmp_path, load_model):
    """Its files are of Granite's architecture, with a rope and without its multipliers."""
    path = tmp_path / "bamba.gguf"
    changes = heads_as_columns(MAMBA_CHANGES) | {
        "attn_q.weight": permuted(4),
        "attn_k.weight": permuted(2),
    }
    arch = gguf.MODEL_ARCH.GRANITE_HYBRID
    write_gguf(folder, path, arch, KEYS, renames=MAMBA_RENAMES, changes=changes)

    check(load_model(path, "dense", torch.float32), theirs(made))
    check_uses_all(path)
