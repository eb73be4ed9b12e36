"""Mamba's families where the fixtures are too plain: transformers makes models from a seed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    FalconH1Config,
    FalconH1ForCausalLM,
    FalconMambaConfig,
    FalconMambaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
)

from engine.checkpoint import CheckpointError, open_checkpoint
from engine.models.blueprint import blueprint
from engine.models.names import locate
from tests.engine.fixture_models import write_hf
from tests.engine.made_models import SIZES, config_of, make, ours, theirs, write

SSM: dict[str, Any] = {
    **{key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")},
    "state_size": 6,
}
GROUPS: dict[str, Any] = {"num_heads": 8, "head_dim": 8, "n_groups": 4, "intermediate_size": 64}
H1: dict[str, Any] = {
    **SIZES,
    "mamba_d_ssm": 48,
    "mamba_n_heads": 6,
    "mamba_d_head": 8,
    "mamba_n_groups": 2,
    "mamba_d_state": 6,
}
MULTIPLIERS: dict[str, Any] = {
    "embedding_multiplier": 1.5,
    "lm_head_multiplier": 0.7,
    "attention_in_multiplier": 1.1,
    "attention_out_multiplier": 0.9,
    "key_multiplier": 0.8,
    "ssm_in_multiplier": 1.2,
    "ssm_out_multiplier": 0.6,
    "ssm_multipliers": [0.9, 1.1, 0.8, 1.2, 0.7],
    "mlp_multipliers": [1.3, 0.8],
}

MADE = {
    "mamba": (MambaForCausalLM, MambaConfig(**SSM)),
    "mamba, biases, untied": (
        MambaForCausalLM,
        MambaConfig(**SSM, use_bias=True, use_conv_bias=False, tie_word_embeddings=False),
    ),
    "falcon_mamba": (FalconMambaForCausalLM, FalconMambaConfig(**SSM, mixer_rms_eps=1e-2)),
    "mamba2, groups": (Mamba2ForCausalLM, Mamba2Config(**SSM, **GROUPS)),
    "mamba2, biases, limits": (
        Mamba2ForCausalLM,
        Mamba2Config(**SSM, **GROUPS, use_bias=True, time_step_limit=(0.5, 1.5)),
    ),
    "falcon_h1, gate before norm": (
        FalconH1ForCausalLM,
        FalconH1Config(**H1, **MULTIPLIERS, mamba_rms_norm=True, mamba_norm_before_gate=False),
    ),
    "falcon_h1, norm before gate": (
        FalconH1ForCausalLM,
        FalconH1Config(**H1, mamba_rms_norm=True, mamba_norm_before_gate=True),
    ),
    "falcon_h1, biases": (
        FalconH1ForCausalLM,
        FalconH1Config(
            **H1, **MULTIPLIERS, mamba_proj_bias=True, projectors_bias=True, attention_bias=True
        ),
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_made_models_equal_transformers(name, tmp_path):
    """What a config can say beyond the fixtures'."""
    model = make(*MADE[name])

    assert torch.allclose(ours(write(tmp_path, model)), theirs(model), rtol=0, atol=1e-3)


# --- the same from GGUF --------------------------------------------------------------------------

MAMBA_KEYS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "ssm.conv_kernel": "conv_kernel",
    "ssm.inner_size": "intermediate_size",
    "ssm.state_size": "state_size",
    "ssm.time_step_rank": "time_step_rank",
}
MAMBA2_KEYS = {**MAMBA_KEYS, "ssm.time_step_rank": "num_heads", "ssm.group_count": "n_groups"}
H1_KEYS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "ssm.conv_kernel": "mamba_d_conv",
    "ssm.inner_size": "mamba_d_ssm",
    "ssm.state_size": "mamba_d_state",
    "ssm.time_step_rank": "mamba_n_heads",
    "ssm.group_count": "mamba_n_groups",
}
CONVERTED = {
    "mamba": ("mamba", "mamba", MAMBA_KEYS),
    "falcon_mamba": ("falcon_mamba", "mamba", MAMBA_KEYS),
    "mamba2": ("mamba2, groups", "mamba2", MAMBA2_KEYS),
    "falcon_h1": ("falcon_h1, gate before norm", "falcon-h1", H1_KEYS),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_gguf_equals_transformers(case, tmp_path):
    """A is stored as it is, group norms by group, and multipliers are in the weights."""
    name, architecture, keys = CONVERTED[case]
    architecture_of, config = MADE[name]
    # Falcon-Mamba's eps has no key in GGUF: it is the one of the released model.
    changed = {"mixer_rms_eps": 1e-6} if case == "falcon_mamba" else {}
    model = make(architecture_of, type(config)(**(config.to_dict() | changed)))
    path = write_gguf(tmp_path / "model.gguf", write(tmp_path, model), model, architecture, keys)

    assert torch.allclose(ours(path), theirs(model), rtol=0, atol=1e-3)


def write_gguf(
    path: Path, folder: Path, model: PreTrainedModel, architecture: str, keys: Mapping[str, str]
) -> Path:
    """As llama.cpp's converter has it."""
    writer, c = gguf.GGUFWriter(path, architecture), model.config
    for key, named in keys.items():
        writer.add_uint32(f"{architecture}.{key}", getattr(c, named))
    writer.add_context_length(256)
    writer.add_layer_norm_rms_eps(getattr(c, "rms_norm_eps", None) or c.layer_norm_epsilon)
    if architecture == "mamba":
        writer.add_ssm_dt_b_c_rms(c.model_type == "falcon_mamba")
    stored = load_file(folder / "model.safetensors")
    with open_checkpoint(folder) as checkpoint:
        plan = blueprint(checkpoint)
    for binding in plan.bindings:
        found = locate(binding.parameter.path, plan.family.names)
        if found and binding.sources:
            tensor = converted(found.gguf, stored[binding.sources[0].tensor.name], c)
            writer.add_tensor(found.gguf, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converted(name: str, tensor: Tensor, c: Any) -> Tensor:
    kind = name.split(".")[2 if name.startswith("blk.") else 0]
    if c.model_type == "falcon_h1":
        tensor = folded(kind, tensor, c)
    if kind == "ssm_norm":
        return tensor.view(c.n_groups if c.model_type == "mamba2" else c.mamba_n_groups, -1)
    if kind == "ssm_a":
        tensor = -torch.exp(tensor)
    if kind in ("ssm_a", "ssm_d") and c.model_type in ("mamba2", "falcon_h1"):
        return tensor[:, None]
    return tensor.squeeze(1) if name.endswith("ssm_conv1d.weight") else tensor


def folded(kind: str, tensor: Tensor, c: Any) -> Tensor:
    """A weight of Falcon-H1 with the multipliers of what goes in and what comes out."""
    shared = c.mamba_n_groups * c.mamba_d_state
    sections = torch.tensor([c.mamba_d_ssm, c.mamba_d_ssm, shared, shared, c.mamba_n_heads])
    factors = {
        "token_embd": c.embedding_multiplier,
        "output": c.lm_head_multiplier,
        "attn_q": c.attention_in_multiplier,
        "attn_k": c.attention_in_multiplier * c.key_multiplier,
        "attn_v": c.attention_in_multiplier,
        "attn_output": c.attention_out_multiplier,
        "ssm_in": c.ssm_in_multiplier
        * torch.tensor(c.ssm_multipliers).repeat_interleave(sections)[:, None],
        "ssm_out": c.ssm_out_multiplier,
        "ffn_gate": c.mlp_multipliers[0],
        "ffn_down": c.mlp_multipliers[1],
    }
    scaled: Tensor = tensor * factors.get(kind, 1.0)
    return scaled


# --- other layouts, and what is refused ----------------------------------------------------------


def renamed(stored: Mapping[str, Tensor], words: Mapping[str, str]) -> dict[str, Tensor]:
    names = {name: name for name in stored}
    for old, new in words.items():
        names = {name: now.replace(old, new) for name, now in names.items()}
    return {now: stored[name].clone() for name, now in names.items()}


def test_the_oldest_layout_of_mamba(tmp_path):
    """Keys and names of the original code, and a vocabulary that its embedding goes beyond."""
    model = make(*MADE["mamba"])
    stored = renamed(model.state_dict(), {"backbone.embeddings": "backbone.embedding"})
    config = {
        "architectures": ["MambaLMHeadModel"],
        "d_model": SSM["hidden_size"],
        "n_layer": SSM["num_hidden_layers"],
        "vocab_size": 91,
        "pad_vocab_size_multiple": 8,
        "rms_norm": True,
        "ssm_cfg": {},
        "state_size": 6,
    }

    assert torch.allclose(
        ours(write_hf(tmp_path, config, stored)), theirs(model), rtol=0, atol=1e-3
    )


def test_codestral_s_names(tmp_path):
    """Its tensors have a prefix more, and its key for the order of norm and gate is obeyed by none."""
    model = make(*MADE["mamba2, groups"])
    words = {"backbone.": "model.backbone.", "embeddings": "embedding", "lm_head": "model.lm_head"}
    config = config_of(model) | {"norm_before_gate": True}
    path = write_hf(tmp_path, config, renamed(model.state_dict(), words))

    assert torch.allclose(ours(path), theirs(model), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mamba", {"rms_norm": False}, "rms_norm = False"),
        ("mamba", {"ssm_cfg": {"layer": "Mamba2"}}, "ssm_cfg"),
        ("mamba", {"hidden_act": "gelu"}, "hidden_act"),
        ("mamba", {"time_step_rank": "half"}, "time_step_rank"),
        ("mamba2, groups", {"head_dim": 9}, "8 heads of 9"),
        ("mamba2, groups", {"n_groups": 3}, "8 heads, 3 groups"),
        ("mamba2, groups", {"time_step_limit": [0.1]}, "time_step_limit"),
        ("falcon_h1, biases", {"mamba_d_ssm": 50}, "6 heads of 8"),
        ("falcon_h1, biases", {"mamba_use_mlp": False}, "mamba_use_mlp"),
        ("falcon_h1, biases", {"ssm_multipliers": [1.0]}, "ssm_multipliers"),
    ],
)
def test_configs_of_no_sense_are_refused(name, changes, message, tmp_path):
    """By the key that is wrong, or the sizes that do not fit together."""
    model = make(*MADE[name])
    path = write_hf(tmp_path, config_of(model) | changes, renamed(model.state_dict(), {}))

    with (
        open_checkpoint(path) as checkpoint,
        pytest.raises(CheckpointError, match=message),
    ):
        blueprint(checkpoint)
