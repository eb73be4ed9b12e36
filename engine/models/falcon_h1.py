"""Falcon-H1: attention and Mamba-2 side by side in every layer, and a multiplier nearly everywhere.

Checked against transformers 5.23 (models/falcon_h1) and llama.cpp (src/models/falcon-h1.cpp). GGUF
files have the multipliers in their weights. From safetensors they stay factors of their own: where
matrices are kept as they are stored, nothing can be multiplied into them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import Both
from engine.cache.states import TokensAndState
from engine.kernels import ops
from engine.models.family import Family
from engine.models.meta import Config as BaseConfig
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Name, Names
from engine.models.ssm import TimeStepLimit, ssm_names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import rms_norm
from engine.nn.mamba2 import NO_LIMITS, GatedNorm, Mamba2
from engine.nn.mlp import GatedMLP
from engine.nn.module import Module
from engine.nn.rope import Rope, rope_of
from engine.nn.step import Step


class Config(BaseConfig, frozen=True, kw_only=True):
    """mlp_multipliers: of the gate, and of what comes out. ssm_multipliers: of z, x, B, C and dt."""

    hidden_act: Literal["silu"] = "silu"
    mamba_d_ssm: Annotated[int, Meta(ge=0, le=2**20), gguf("ssm.inner_size")] = 0
    mamba_n_heads: Annotated[Size, gguf("ssm.time_step_rank")]
    mamba_d_head: Size | Literal["auto"] = "auto"
    mamba_n_groups: Annotated[Size, gguf("ssm.group_count")] = 1
    mamba_d_state: Annotated[Size, gguf("ssm.state_size")]
    mamba_d_conv: Annotated[int, Meta(ge=2, le=64), gguf("ssm.conv_kernel")] = 4
    mamba_expand: Annotated[int, Meta(ge=1, le=64)] = 2
    mamba_conv_bias: Annotated[bool, gguf_has("blk.0.ssm_conv1d.bias")] = True
    mamba_proj_bias: Annotated[bool, gguf_has("blk.0.ssm_in.bias")] = False
    projectors_bias: Annotated[bool, gguf_has("blk.0.ssm_out.bias")] = False
    mamba_rms_norm: Annotated[bool, gguf_has("blk.0.ssm_norm.weight")] = False
    mamba_norm_before_gate: bool = False
    mamba_use_mlp: Literal[True] = True
    time_step_limit: TimeStepLimit = NO_LIMITS
    embedding_multiplier: float = 1.0
    lm_head_multiplier: float = 1.0
    attention_in_multiplier: float = 1.0
    attention_out_multiplier: float = 1.0
    key_multiplier: float = 1.0
    ssm_in_multiplier: float = 1.0
    ssm_out_multiplier: float = 1.0
    ssm_multipliers: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    mlp_multipliers: tuple[float, float] = (1.0, 1.0)

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "mamba_d_state": 256,
        "mamba_n_heads": 128,
        "mamba_norm_before_gate": True,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.mamba_d_ssm:
            force_setattr(self, "mamba_d_ssm", self.mamba_expand * self.hidden_size)
        if self.mamba_d_head == "auto":
            force_setattr(self, "mamba_d_head", max(1, self.mamba_d_ssm // self.mamba_n_heads))
        if int(self.mamba_d_head) * self.mamba_n_heads != self.mamba_d_ssm:
            heads = f"{self.mamba_n_heads} heads of {self.mamba_d_head}"
            raise ValueError(f"{heads} do not make up {self.mamba_d_ssm} channels")


class FalconH1Layer(Module):
    def __init__(self, c: Config, rope: Rope) -> None:
        super().__init__()
        self.input_layernorm = rms_norm(c)
        # The multiplier of the keys is one of the scores.
        scale = c.key_multiplier * c.head_dim**-0.5
        self.self_attn = Attention(c, rope, scale=scale)
        self.mamba = mixer(c)
        self.pre_ff_layernorm = rms_norm(c)
        gate_factor, self._ff_factor = c.mlp_multipliers
        self.feed_forward = GatedMLP(
            c, lambda gate, up: ops.silu_mul(_scaled(gate, gate_factor), up)
        )
        self.cache_spec = Both(self.self_attn.cache_spec, self.mamba.cache_spec)
        self._attention_factors = c.attention_in_multiplier, c.attention_out_multiplier
        self._ssm_factors = c.ssm_in_multiplier, c.ssm_out_multiplier

    def __call__(self, x: Tensor, step: Step, cache: TokensAndState) -> Tensor:
        normed = self.input_layernorm(x)
        before, after = self._attention_factors
        assert isinstance(cache.tokens, PagedKV)
        attended = self.self_attn(_scaled(normed, before), step, cache.tokens)
        x = ops.add(x, _scaled(attended, after))
        before, after = self._ssm_factors
        mixed = self.mamba(_scaled(normed, before), step, cache.state)
        x = ops.add(x, _scaled(mixed, after))
        return ops.add(x, _scaled(self.feed_forward(self.pre_ff_layernorm(x)), self._ff_factor))


def mixer(c: Config) -> Mamba2:
    norm = GatedNorm(
        c.mamba_d_ssm,
        c.rms_norm_eps,
        num_groups=c.mamba_n_groups,
        norm_first=c.mamba_norm_before_gate,
    )
    return Mamba2(
        c.hidden_size,
        num_heads=c.mamba_n_heads,
        head_dim=int(c.mamba_d_head),
        state_size=c.mamba_d_state,
        num_groups=c.mamba_n_groups,
        kernel_size=c.mamba_d_conv,
        conv_bias=c.mamba_conv_bias,
        in_bias=c.mamba_proj_bias,
        out_bias=c.projectors_bias,
        norm=norm if c.mamba_rms_norm else None,
        dt_limits=c.time_step_limit,
        in_factors=c.ssm_multipliers,
    )


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else ops.scale(x, factor)


_LAYER = "model.layers.{i}"

NAMES: Names = {
    "model.embed_tokens": "token_embd",
    f"{_LAYER}.input_layernorm": "blk.{i}.attn_norm",
    f"{_LAYER}.self_attn.q_proj": "blk.{i}.attn_q",
    f"{_LAYER}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{_LAYER}.self_attn.v_proj": "blk.{i}.attn_v",
    f"{_LAYER}.self_attn.o_proj": "blk.{i}.attn_output",
    **ssm_names(f"{_LAYER}.mamba"),
    f"{_LAYER}.mamba.dt_bias": "blk.{i}.ssm_dt.bias",
    f"{_LAYER}.mamba.norm": "blk.{i}.ssm_norm",
    f"{_LAYER}.pre_ff_layernorm.weight": "blk.{i}.ffn_norm",
    f"{_LAYER}.feed_forward.gate_proj": "blk.{i}.ffn_gate",
    f"{_LAYER}.feed_forward.up_proj": "blk.{i}.ffn_up",
    f"{_LAYER}.feed_forward.down_proj": "blk.{i}.ffn_down",
    "model.norm": Name("output_norm", hf="model.final_layernorm"),
    "lm_head": "output",
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(
        c,
        lambda _: FalconH1Layer(c, rope),
        embed_scale=None if c.embedding_multiplier == 1 else c.embedding_multiplier,
        logit_scale=None if c.lm_head_multiplier == 1 else c.lm_head_multiplier,
    )


FAMILY = Family(
    "falcon_h1",
    ("FalconH1ForCausalLM",),
    ("falcon_h1",),
    ("falcon-h1",),
    Config,
    build,
    NAMES,
)
