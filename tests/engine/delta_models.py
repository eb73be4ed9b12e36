"""Sizes of tiny models with gated delta networks, and what GGUF's converter makes of their tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tests.engine.hybrid_models import Change

KEY_HEADS, VALUE_HEADS, KEY_DIM, VALUE_DIM = 2, 6, 8, 5
LAYERS = ["linear_attention", "linear_attention", "linear_attention", "full_attention"]

LINEAR: dict[str, Any] = {
    "linear_num_key_heads": KEY_HEADS,
    "linear_num_value_heads": VALUE_HEADS,
    "linear_key_head_dim": KEY_DIM,
    "linear_value_head_dim": VALUE_DIM,
    "linear_conv_kernel_dim": 3,
}

GGUF_KEYS: dict[str, Any] = {
    "block_count": 4,
    "context_length": 256,
    "embedding_length": 32,
    "feed_forward_length": 48,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.key_length": 8,
    "attention.value_length": 8,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "attention.recurrent_layers": [True, True, True, False],
    "rope.freq_base": 10000.0,
    "rope.dimension_count": 2,
    "ssm.conv_kernel": 3,
    "ssm.state_size": KEY_DIM,
    "ssm.group_count": KEY_HEADS,
    "ssm.time_step_rank": VALUE_HEADS,
    "ssm.inner_size": VALUE_HEADS * VALUE_DIM,
}


def as_converted(*, tiled: bool) -> tuple[Mapping[str, str], Mapping[str, Change]]:
    """Names and tensors. tiled: heads of values take turns with those of keys, as Qwen3.5's do."""
    renames = {".dt_bias": ".dt_proj.bias"}
    changes: dict[str, Change] = {
        "ssm_a": lambda tensor: -torch.exp(tensor),
        "ssm_conv1d.weight": lambda tensor: tensor.squeeze(1),
    }
    for norm in ("attn", "post_attention", "attn_q", "attn_k", "output"):
        changes[f"{norm}_norm.weight"] = lambda tensor: tensor + 1
    return renames, changes | (_TILES if tiled else {})


def _in_turns(rows: Tensor) -> Tensor:
    """The heads of values g * r + i as i * heads of keys + g."""
    heads = rows.view(KEY_HEADS, VALUE_HEADS // KEY_HEADS, -1, *rows.shape[1:])
    return heads.transpose(0, 1).reshape(rows.shape)


def _values_in_turns(rows: Tensor) -> Tensor:
    """Of q, k and v in one, those of v."""
    first = 2 * KEY_HEADS * KEY_DIM
    return torch.cat([rows[:first], _in_turns(rows[first:])])


_TILES: Mapping[str, Change] = {
    "attn_qkv.weight": _values_in_turns,
    "ssm_conv1d.weight": lambda tensor: _values_in_turns(tensor.squeeze(1)),
    "attn_gate.weight": _in_turns,
    "ssm_alpha.weight": _in_turns,
    "ssm_beta.weight": _in_turns,
    "ssm_a": lambda tensor: _in_turns(-torch.exp(tensor)),
    "ssm_dt.bias": _in_turns,
    "ssm_out.weight": lambda tensor: _in_turns(tensor.mT).mT,
}
