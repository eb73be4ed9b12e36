"""Qwen3-Next as transformers makes it from a seed, with fewer heads of keys than of values."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.config_reader import read_config
from engine.models.qwen3_next import Config
from tests.engine.delta_models import GGUF_KEYS, KEY_DIM, KEY_HEADS, LAYERS, LINEAR, as_converted
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, make, theirs

EXPERTS: dict[str, Any] = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 12,
}
KEYS = GGUF_KEYS | {
    "expert_count": 6,
    "expert_used_count": 2,
    "expert_feed_forward_length": 20,
    "expert_shared_feed_forward_length": 12,
}


def made_of(**settings: Any) -> Qwen3NextForCausalLM:
    config = Qwen3NextConfig(**SIZES, **LINEAR, **EXPERTS, layer_types=LAYERS, **settings)
    return make(Qwen3NextForCausalLM, config)


@pytest.fixture(scope="module")
def made() -> Qwen3NextForCausalLM:
    return made_of()


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("qwen3_next") / "hf")


def ungrouped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With q, k and v in one matrix, each as a whole, and z in another, as GGUF has them today."""
    found = dict(tensors)
    for name in tensors:
        if "in_proj_qkvz" in name:
            groups = found.pop(name).view(KEY_HEADS, -1, SIZES["hidden_size"])
            values = (groups.shape[1] - 2 * KEY_DIM) // 2
            parts = groups.split([KEY_DIM, KEY_DIM, values, values], dim=1)
            q, k, v, z = (part.flatten(0, 1) for part in parts)
            found[name.replace("qkvz", "qkv")] = torch.cat([q, k, v])
            found[name.replace("qkvz", "z")] = z
    return found


def written(folder: Path, path: Path, tensors: dict[str, Tensor], **keys: Any) -> Path:
    config = json.loads((folder / "config.json").read_bytes())
    changed = write_hf(path.parent / f"{path.stem}-tensors", config, tensors)
    renames, changes = as_converted(tiled=False)
    arch = gguf.MODEL_ARCH.QWEN3NEXT
    return write_gguf(changed, path, arch, KEYS | keys, renames=renames, changes=changes)


@pytest.fixture(scope="module")
def gguf_path(folder) -> Path:
    tensors = ungrouped(load_file(folder / "model.safetensors"))
    return written(folder, folder.parent / "qwen3next.gguf", tensors)


def test_qwen3_next_equals_transformers(made, folder, load_model):
    """Rows of q, k, v and z by head of keys; norms of 1 + w but for one; gated attention."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


def test_qwen3_next_is_the_same_from_gguf(made, gguf_path, load_model):
    """Matrices split, but for those of decay and beta; norms with their one; A for its logarithm."""
    check(load_model(gguf_path, "dense", torch.float32), theirs(made))
    check_uses_all(gguf_path)


def test_old_gguf_has_one_matrix_by_head_of_keys(made, folder, tmp_path, load_model):
    """ssm_in, from before it was split."""
    stored = load_file(folder / "model.safetensors")
    path = written(folder, tmp_path / "old.gguf", stored)

    check(load_model(path, "dense", torch.float32), theirs(made))
    check_uses_all(path)


def test_some_layers_may_be_dense(tmp_path, load_model):
    """mlp_only_layers have no experts."""
    model = made_of(mlp_only_layers=[1])

    check(load_model(save(model, tmp_path / "hf"), "dense", torch.float32), theirs(model))


def test_predictors_of_further_tokens_are_left_out(made, folder, gguf_path, tmp_path, load_model):
    """mtp.* in safetensors; in GGUF a further block, counted among the others."""
    stored = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_bytes())
    with_mtp = stored | {"mtp.fc.weight": torch.randn(4, 4)}
    blocks = {"block_count": 5, "nextn_predict_layers": 1}
    blocks |= {"attention.recurrent_layers": [True, True, True, False, False]}
    path = written(folder, tmp_path / "mtp.gguf", ungrouped(stored), **blocks)

    for each in (write_hf(tmp_path / "hf", config, with_mtp), path):
        check(load_model(each, "dense", torch.float32), theirs(made))


@pytest.mark.parametrize(
    ("change", "attending"),
    [
        ({"layer_types": None}, [3]),
        ({"layer_types": None, "full_attention_interval": 2}, [1, 3]),
        ({"layer_types": ["full_attention", *["linear_attention"] * 3]}, [0]),
    ],
)
def test_which_layers_attend(tmp_path, folder, change, attending):
    """As layer_types say, else every fourth, or at the interval that is given."""
    config = json.loads((folder / "config.json").read_bytes()) | change
    write_hf(tmp_path, config, {"lm_head.weight": torch.zeros(1, 1)})
    with open_checkpoint(tmp_path) as checkpoint:
        read = read_config(checkpoint, Config)

    assert [layer for layer in range(4) if read.attends(layer)] == attending


def test_heads_that_cannot_be_shared_are_refused(tmp_path, folder):
    """Five heads of values cannot go with two of keys."""
    config = json.loads((folder / "config.json").read_bytes()) | {"linear_num_value_heads": 5}
    write_hf(tmp_path, config, {"lm_head.weight": torch.zeros(1, 1)})

    with open_checkpoint(tmp_path) as checkpoint, pytest.raises(CheckpointError, match="multiple"):
        read_config(checkpoint, Config)
