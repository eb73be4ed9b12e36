"""OLMo hybrid has no fixture: transformers makes it from a seed, and is the reference."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import OlmoHybridConfig, OlmoHybridForCausalLM

from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all
from tests.engine.made_models import SIZES, config_of, make, stored, theirs

PUBLISHED = {
    "input_layernorm": "attention_layer_norm",
    "post_attention_layernorm": "feedforward_layer_norm",
}


def made(**settings: bool) -> OlmoHybridForCausalLM:
    sizes = {key: value for key, value in SIZES.items() if key != "head_dim"}
    heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6}
    return make(OlmoHybridForCausalLM, OlmoHybridConfig(**sizes, **heads, **settings))


def published(model: OlmoHybridForCausalLM) -> dict[str, Tensor]:
    """Its tensors as files have them: convolutions of q, k and v apart, and other names of norms.

    Only of layers with linear attention: transformers 5.23 renames and splits too much itself.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in stored(model).items():
        layer = int(name.split(".")[2]) if ".layers." in name else -1
        if ".conv1d." in name:
            parts = tensor.split([12, 12, tensor.shape[0] - 24])
            found |= {
                name.replace("conv1d", f"{part}_conv1d"): rows
                for part, rows in zip("qkv", parts, strict=True)
            }
        elif layer >= 0 and model.config.layer_types[layer] == "linear_attention":
            for ours, theirs_ in PUBLISHED.items():
                name = name.replace(ours, theirs_)  # noqa: PLW2901  # at most one of them
            found[name] = tensor
        else:
            found[name] = tensor
    return found


@pytest.mark.parametrize("rope", [None, {"rope_type": "default", "rope_theta": 10000.0}])
def test_olmo_hybrid_equals_transformers(rope, tmp_path: Path, load_model):
    """More heads of values than of keys, betas up to two; with a rope, and without as released."""
    model = made()
    model.config.rope_parameters = rope
    if rope is None:
        model.model.rotary_emb = None
    path = write_hf(tmp_path, config_of(model), published(model))

    check(load_model(path, "dense", torch.float32), theirs(model))
    check_uses_all(path)


def test_betas_up_to_one(tmp_path: Path, load_model):
    """Where eigenvalues must not be negative, beta is a sigmoid and no more."""
    model = made(linear_allow_neg_eigval=False)
    path = write_hf(tmp_path, config_of(model), published(model))

    check(load_model(path, "dense", torch.float32), theirs(model))
