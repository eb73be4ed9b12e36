"""Qwen1.5-MoE and Qwen2-MoE: beside the experts, one of all tokens, as far as a gate lets it.

Checked against transformers 5.23 (models/qwen2_moe) and llama.cpp (src/models/qwen2moe.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec.structs import force_setattr

from engine.kernels.routing import Routing
from engine.models import qwen3_moe
from engine.models.experts import SharedSize
from engine.models.family import Family
from engine.models.meta import gguf_has
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.linear import Linear
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(qwen3_moe.Config, frozen=True, kw_only=True):
    norm_topk_prob: bool = False
    shared_expert_intermediate_size: SharedSize
    qkv_bias: Annotated[bool, gguf_has("blk.0.attn_q.bias")] = True

    hf_defaults: ClassVar[Mapping[str, Any]] = {"attention_out_bias": False}

    def __post_init__(self) -> None:
        super().__post_init__()
        force_setattr(self, "attention_bias", self.qkv_bias)


_SHARED = "model.layers.{i}.mlp.shared_expert"

NAMES: Names = {
    **qwen3_moe.NAMES,
    f"{_SHARED}s.gate_proj": Name("blk.{i}.ffn_gate_shexp", hf=f"{_SHARED}.gate_proj"),
    f"{_SHARED}s.up_proj": Name("blk.{i}.ffn_up_shexp", hf=f"{_SHARED}.up_proj"),
    f"{_SHARED}s.down_proj": Name("blk.{i}.ffn_down_shexp", hf=f"{_SHARED}.down_proj"),
    f"{_SHARED}_gate": "blk.{i}.ffn_gate_inp_shexp",
}


def mixture(c: Config) -> MoE:
    routing = Routing(c.num_experts_per_tok, renormalise=c.norm_topk_prob)
    return MoE(
        Router(c.hidden_size, c.num_experts, routing),
        Experts(c.hidden_size, c.moe_intermediate_size, c.num_experts),
        shared=GatedMLP(c, intermediate_size=c.shared_expert_intermediate_size),
        shared_gate=Linear(c.hidden_size, 1),
    )


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        mlp = mixture(c) if c.is_sparse(index) else GatedMLP(c)
        return DecoderLayer(c, Attention(c, rope), mlp)

    return CausalLM(c, layer)


FAMILY = Family(
    "qwen2_moe",
    ("Qwen2MoeForCausalLM",),
    ("qwen2_moe",),
    ("qwen2moe",),
    Config,
    build,
    NAMES,
)
