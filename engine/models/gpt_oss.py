"""GPT-OSS: attention sinks, every other layer sliding, and clamped experts with biases.

Checked against transformers 5.23 (models/gpt_oss) and llama.cpp (src/models/openai-moe-iswa.cpp).
Safetensors have gate and up as the even and odd rows of one stack; where that is not quantised, its
matrices are transposed. GGUF has them apart.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from msgspec.structs import force_setattr, replace

from engine.kernels import ops
from engine.kernels.routing import Routing
from engine.models import qwen3_moe
from engine.models.experts import NumExperts, TopK, check_top_k
from engine.models.family import Family
from engine.models.meta import gguf_has
from engine.models.names import Fused, Name, Names
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of

_RELEASED_LAYERS = (24, 36)


class Config(SlidingConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    num_local_experts: NumExperts
    num_experts_per_tok: TopK
    swiglu_alpha: float = 1.702
    swiglu_limit: float = 7.0
    is_gguf: Annotated[bool, gguf_has("token_embd.weight")] = False

    default_pattern: ClassVar[int] = 2
    rope_thetas: ClassVar[Mapping[str, float]] = {"full_attention": 150000.0}
    hf_defaults: ClassVar[Mapping[str, Any]] = {"attention_bias": True}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, self.num_local_experts)
        if self.is_gguf and self.num_hidden_layers in _RELEASED_LAYERS:
            # GGUF has no key for it; the 20B and the 120B are published with truncate = false.
            rope = replace(self.rope_parameters["full_attention"], truncate=False)
            force_setattr(self, "rope_parameters", {"full_attention": rope})


_LAYER = "model.layers.{i}"


NAMES: Names = {
    **qwen3_moe.NAMES,
    f"{_LAYER}.self_attn.sinks": "blk.{i}.attn_sinks.weight",
    f"{_LAYER}.post_attention_layernorm": "blk.{i}.post_attention_norm",
    f"{_LAYER}.mlp.gate": Name("blk.{i}.ffn_gate_inp", hf=f"{_LAYER}.mlp.router"),
    f"{_LAYER}.mlp.experts.gate_proj": "blk.{i}.ffn_gate_exps",
    f"{_LAYER}.mlp.experts.up_proj": "blk.{i}.ffn_up_exps",
    f"{_LAYER}.mlp.experts.down_proj": "blk.{i}.ffn_down_exps",
}


def mixture(c: Config) -> MoE:
    routing = Routing(c.num_experts_per_tok, score="chosen_softmax")
    act = partial(ops.clamped_swiglu, alpha=c.swiglu_alpha, limit=c.swiglu_limit)
    return MoE(
        Router(c.hidden_size, c.num_local_experts, routing, bias=True),
        Experts(c.hidden_size, c.intermediate_size, c.num_local_experts, act=act, bias=True),
    )


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        attention = Attention(c, rope, window=c.window(index), sinks=True)
        return DecoderLayer(c, attention, mixture(c))

    return CausalLM(c, layer)


FAMILY = Family(
    "gpt_oss",
    ("GptOssForCausalLM",),
    ("gpt_oss",),
    ("gpt-oss",),
    Config,
    build,
    NAMES,
    fused=(
        # In turn, row by row.
        Fused(
            "experts.gate_up_proj",
            ("experts.gate_proj", "experts.up_proj"),
            groups="intermediate_size",
        ),
    ),
    transposed=("*.mlp.experts.gate_up_proj.weight", "*.mlp.experts.down_proj.weight"),
)
