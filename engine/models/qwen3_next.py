"""Qwen3-Next: gated delta networks, with gated attention in every fourth layer, and experts.

Checked against transformers 5.23 (models/qwen3_next) and llama.cpp (src/models/qwen3next.cpp).
"""

from typing import Annotated

import torch
from torch import Tensor

from engine.kernels.routing import Routing
from engine.models import gated_delta, qwen2_moe
from engine.models.experts import ExpertSize, NumExperts, SharedSize, TopK, check_top_k
from engine.models.family import Family
from engine.models.gated_delta import DeltaConfig, mixer
from engine.models.meta import gguf_lacks
from engine.models.names import Fused, Name, Names
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.linear import Linear
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class MixtureConfig(DeltaConfig, frozen=True, kw_only=True):
    num_experts: NumExperts
    num_experts_per_tok: TopK
    moe_intermediate_size: ExpertSize
    shared_expert_intermediate_size: SharedSize
    norm_topk_prob: bool = True
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, self.num_experts)

    def is_sparse(self, layer: int) -> bool:
        """Whether the layer has experts; the others are dense."""
        return layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0


class Config(MixtureConfig, frozen=True, kw_only=True):
    """is_grouped: rows of q, k, v and z lie together by head of keys; only old GGUF files have it so."""

    is_grouped: Annotated[bool, gguf_lacks("blk.*.attn_gate.weight")] = True


def _flat(rows: Tensor, c: Config) -> Tensor:
    """All of q, all of k, all of v, of rows that have a part of each for every head of keys."""
    if not c.is_grouped:
        return rows
    groups = rows.view(c.linear_num_key_heads, -1, *rows.shape[1:])
    size = c.linear_key_head_dim
    parts = groups[:, :size], groups[:, size : 2 * size], groups[:, 2 * size :]
    return torch.cat([part.flatten(0, 1) for part in parts])


_HF = "model.layers.{i}.linear_attn"

NAMES: Names = {
    **qwen2_moe.NAMES,
    **gated_delta.NAMES,
    "model.layers.{i}.self_attn.in_proj_qkv": Name(
        "blk.{i}.attn_qkv", _flat, _flat, f"{_HF}.in_proj_qkv"
    ),
}

FUSED = tuple(
    Fused(whole, parts, groups="linear_num_key_heads")
    for whole, parts in {
        "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"),
        "in_proj_ba": ("in_proj_b", "in_proj_a"),
        "ssm_in": ("attn_qkv", "attn_gate"),
        "ssm_ba": ("ssm_beta", "ssm_alpha"),
    }.items()
)


def feed_forward(c: MixtureConfig, layer: int) -> GatedMLP | MoE:
    if not c.is_sparse(layer):
        return GatedMLP(c)
    return MoE(
        Router(
            c.hidden_size,
            c.num_experts,
            Routing(c.num_experts_per_tok, renormalise=c.norm_topk_prob),
        ),
        Experts(c.hidden_size, c.moe_intermediate_size, c.num_experts),
        shared=GatedMLP(c, intermediate_size=c.shared_expert_intermediate_size),
        shared_gate=Linear(c.hidden_size, 1),
    )


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda i: DecoderLayer(c, mixer(c, i, rope), feed_forward(c, i)))


FAMILY = Family(
    "qwen3_next",
    ("Qwen3NextForCausalLM",),
    ("qwen3_next",),
    ("qwen3next",),
    Config,
    build,
    NAMES,
    fused=FUSED,
)
