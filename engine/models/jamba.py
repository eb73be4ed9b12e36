"""Jamba: Mamba with norms of dt, B and C, attention in every eighth layer, experts in every second.

Checked against transformers 5.23 (models/jamba) and llama.cpp (src/models/jamba.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.kernels.routing import Routing
from engine.models import llama
from engine.models.experts import check_top_k
from engine.models.family import Family
from engine.models.hybrid import FEED_FORWARD_NAMES, HybridConfig, moved
from engine.models.meta import GGUFLayers, Size, gguf, gguf_has
from engine.models.names import Name, Names
from engine.models.ssm import ssm_names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer, FeedForward
from engine.nn.mamba import Mamba
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.norm import RMSNorm

Count = Annotated[int, Meta(ge=0, le=4096)]
Period = Annotated[int, Meta(ge=1, le=1024)]


class Config(HybridConfig, frozen=True, kw_only=True):
    """Of every period of layers, the one at the offset attends, or has experts."""

    hidden_act: Literal["silu"] = "silu"
    attn_layer_period: Period = 8
    attn_layer_offset: Count = 4
    expert_layer_period: Period = 2
    expert_layer_offset: Count = 1
    gguf_expert_layers: Annotated[tuple[int, ...] | None, GGUFLayers("ffn_gate_inp.weight")] = None
    num_experts: Annotated[Count, gguf("expert_count")] = 1
    num_experts_per_tok: Annotated[Count, gguf("expert_used_count")] = 1
    mamba_d_state: Annotated[Size, gguf("ssm.state_size")] = 16
    mamba_d_conv: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    mamba_expand: Annotated[int, Meta(ge=1, le=64)] = 2
    mamba_inner_size: Annotated[int, Meta(ge=0, le=2**20), gguf("ssm.inner_size")] = 0
    mamba_dt_rank: Annotated[Size | Literal["auto"], gguf("ssm.time_step_rank")] = "auto"
    mamba_conv_bias: Annotated[bool, gguf_has("blk.*.ssm_conv1d.bias")] = True
    mamba_proj_bias: Annotated[bool, gguf_has("blk.*.ssm_in.bias")] = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {}
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "rms_norm_eps": 1e-6,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mamba_inner_size:
            force_setattr(self, "mamba_inner_size", self.mamba_expand * self.hidden_size)
        if self.mamba_dt_rank == "auto":
            force_setattr(self, "mamba_dt_rank", -(-self.hidden_size // 16))
        if any(map(self.has_experts, range(self.num_hidden_layers))):
            check_top_k(self.num_experts_per_tok, self.num_experts)

    def attends(self, layer: int) -> bool:
        if self.kv_heads is not None:
            return super().attends(layer)
        return layer % self.attn_layer_period == self.attn_layer_offset

    def has_experts(self, layer: int) -> bool:
        if self.gguf_expert_layers is not None:
            return layer in self.gguf_expert_layers
        is_of_them = layer % self.expert_layer_period == self.expert_layer_offset
        return self.num_experts > 1 and is_of_them


_MIXER, _MLP = "model.layers.{i}.mamba", "model.layers.{i}.mlp"
_STORED = "model.layers.{i}.feed_forward"


def _experts(gguf_name: str, hf: str) -> Name:
    return Name(f"blk.{{i}}.{gguf_name}", hf=f"{_STORED}.experts.{{n}}.{hf}")


NAMES: Names = {
    **llama.NAMES,
    **FEED_FORWARD_NAMES,
    **moved(
        {
            **ssm_names(_MIXER),
            f"{_MIXER}.x_proj": "blk.{i}.ssm_x",
            f"{_MIXER}.dt_proj": "blk.{i}.ssm_dt",
            f"{_MIXER}.dt_layernorm": "blk.{i}.ssm_dt_norm",
            f"{_MIXER}.b_layernorm": "blk.{i}.ssm_b_norm",
            f"{_MIXER}.c_layernorm": "blk.{i}.ssm_c_norm",
        },
        ".mamba",
        ".self_attn",
    ),
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",  # there is no rope to permute for
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{_MLP}.gate": Name("blk.{i}.ffn_gate_inp", hf=f"{_STORED}.router"),
    f"{_MLP}.experts.gate_proj": _experts("ffn_gate_exps", "gate_proj"),
    f"{_MLP}.experts.up_proj": _experts("ffn_up_exps", "up_proj"),
    f"{_MLP}.experts.down_proj": _experts("ffn_down_exps", "down_proj"),
}


def mamba(c: Config) -> Mamba:
    return Mamba(
        c.hidden_size,
        inner_size=c.mamba_inner_size,
        state_size=c.mamba_d_state,
        dt_rank=int(c.mamba_dt_rank),
        kernel_size=c.mamba_d_conv,
        conv_bias=c.mamba_conv_bias,
        proj_bias=c.mamba_proj_bias,
        norm=lambda size: RMSNorm(size, c.rms_norm_eps),
    )


def feed_forward(c: Config, layer: int) -> FeedForward:
    if not c.has_experts(layer):
        return GatedMLP(c)
    router = Router(c.hidden_size, c.num_experts, Routing(c.num_experts_per_tok))
    return MoE(router, Experts(c.hidden_size, c.intermediate_size, c.num_experts))


def build(c: Config) -> CausalLM:
    def layer(index: int) -> DecoderLayer:
        mixer = Attention(c, None) if c.attends(index) else mamba(c)
        return DecoderLayer(c, mixer, feed_forward(c, index))

    return CausalLM(c, layer)


FAMILY = Family("jamba", ("JambaForCausalLM",), ("jamba",), ("jamba",), Config, build, NAMES)
