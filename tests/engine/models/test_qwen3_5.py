"""Qwen3.5 as transformers makes it from a seed, dense and with experts."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    PreTrainedModel,
    Qwen3_5ForCausalLM,
    Qwen3_5MoeForCausalLM,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
)

from tests.engine.delta_models import GGUF_KEYS, LAYERS, LINEAR, as_converted
from tests.engine.fixture_models import write_hf
from tests.engine.hybrid_models import check, check_uses_all, save, write_gguf
from tests.engine.made_models import SIZES, make, theirs

EXPERTS: dict[str, Any] = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "shared_expert_intermediate_size": 12,
}
EXPERT_KEYS = {
    "expert_count": 6,
    "expert_used_count": 2,
    "expert_feed_forward_length": 20,
    "expert_shared_feed_forward_length": 12,
}
ROPE = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.5,
    "mrope_section": [1, 1, 0],
    "mrope_interleaved": True,
}
KEYS = GGUF_KEYS | {"rope.dimension_count": 4, "rope.dimension_sections": [1, 1, 0, 0]}
ARCHITECTURES = {"dense": gguf.MODEL_ARCH.QWEN35, "moe": gguf.MODEL_ARCH.QWEN35MOE}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def made(kind) -> PreTrainedModel:
    settings = SIZES | LINEAR | {"layer_types": LAYERS, "rope_parameters": ROPE}
    if kind == "dense":
        return make(Qwen3_5ForCausalLM, Qwen3_5TextConfig(**settings))
    del settings["intermediate_size"]  # as no layer is dense
    return make(Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig(**settings, **EXPERTS))


@pytest.fixture(scope="module")
def folder(made, kind, tmp_path_factory) -> Path:
    return save(made, tmp_path_factory.mktemp("qwen3_5") / kind)


def written(folder: Path, path: Path, kind: str, **keys: Any) -> Path:
    values = KEYS | (EXPERT_KEYS if kind == "moe" else {}) | keys
    if kind == "moe":
        del values["feed_forward_length"]
    renames, changes = as_converted(tiled=True)
    splits = {"experts.gate_up_proj": ("ffn_gate_exps", "ffn_up_exps")}
    return write_gguf(
        folder, path, ARCHITECTURES[kind], values, renames=renames, changes=changes, splits=splits
    )


def test_qwen3_5_equals_transformers(made, folder, load_model):
    """One matrix for q, k and v; a rope of three positions that are one for text."""
    check(load_model(folder, "dense", torch.float32), theirs(made))
    check_uses_all(folder)


@pytest.mark.parametrize("form", ["dense", "packed"])
def test_heads_of_values_take_turns_in_gguf(made, folder, kind, tmp_path, form, load_model):
    """They go with the heads of keys in another order, which their matrices are stored in."""
    path = written(folder, tmp_path / "tiled.gguf", kind)

    check(load_model(path, form, torch.float32), theirs(made))
    check_uses_all(path)


def test_the_text_model_of_a_wrapper(made, folder, tmp_path, load_model):
    """Its names have a prefix, its config is inside; images and predictors are left out."""
    text = json.loads((folder / "config.json").read_bytes())
    kind = text["model_type"].removesuffix("_text")
    architecture = text.pop("architectures")[0].replace("CausalLM", "ConditionalGeneration")
    config = {"architectures": [architecture], "model_type": kind, "text_config": text}
    stored = load_file(folder / "model.safetensors")
    tensors = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in stored.items()
    }
    tensors |= {"model.visual.merger.norm.weight": torch.ones(3), "mtp.norm.weight": torch.ones(3)}
    path = write_hf(tmp_path, config, tensors)

    check(load_model(path, "dense", torch.float32), theirs(made))


@pytest.mark.parametrize("kind", ["moe"], indirect=True)
def test_experts_may_be_packed(made, folder, tmp_path, load_model):
    """As they are published: those of a layer in one tensor, gate and up in another."""
    config = json.loads((folder / "config.json").read_bytes())
    packed = load_file(folder / "model.safetensors")
    for layer in range(4):
        experts = f"model.layers.{layer}.mlp.experts"
        gate, up, down = (
            torch.stack([packed.pop(f"{experts}.{i}.{part}_proj.weight") for i in range(6)])
            for part in ("gate", "up", "down")
        )
        packed[f"{experts}.gate_up_proj"] = torch.cat([gate, up], dim=1)
        packed[f"{experts}.down_proj"] = down
    path = write_hf(tmp_path / "packed", config, packed)

    check(load_model(path, "dense", torch.float32), theirs(made))
    check_uses_all(path)


def test_predictors_of_more_tokens_are_left_out(made, folder, kind, tmp_path, load_model):
    """A further block that is counted among the others."""
    layers = [True, True, True, False, False]
    blocks = {"block_count": 5, "nextn_predict_layers": 1, "attention.recurrent_layers": layers}
    path = written(folder, tmp_path / "mtp.gguf", kind, **blocks)

    check(load_model(path, "dense", torch.float32), theirs(made))
