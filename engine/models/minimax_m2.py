"""MiniMax-M2: q and k normed whole, a part of each head rotated, experts weighed by sigmoids.

Checked against transformers 5.23 (models/minimax_m2) and llama.cpp (src/models/minimax-m2.cpp).
"""

from typing import Annotated, Literal

from engine.kernels.routing import Routing
from engine.models import qwen3_moe
from engine.models.experts import MIXTRAL_NAMES, MoEConfig, NumExperts
from engine.models.family import Family
from engine.models.meta import gguf
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(MoEConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    num_local_experts: NumExperts
    scoring_func: Literal["sigmoid"] = "sigmoid"
    expert_gating_func: Annotated[Literal[2], gguf("expert_gating_func")] = 2  # GGUF's sigmoid
    use_routing_bias: Literal[True] = True
    use_qk_norm: Literal[True] = True
    qk_norm_type: Literal["per_layer"] = "per_layer"


NAMES: Names = {
    **qwen3_moe.NAMES,
    **MIXTRAL_NAMES,
    "model.layers.{i}.mlp.gate.e_score_correction_bias": Name(
        "blk.{i}.exp_probs_b.bias",
        hf="model.layers.{i}.block_sparse_moe.e_score_correction_bias",
    ),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    routing = Routing(c.num_experts_per_tok, score="sigmoid", renormalise=True)

    def layer(_: int) -> DecoderLayer:
        router = Router(c.hidden_size, c.num_local_experts, routing, corrects=True)
        experts = Experts(c.hidden_size, c.intermediate_size, c.num_local_experts)
        return DecoderLayer(c, Attention(c, rope, qk_norm="full"), MoE(router, experts))

    return CausalLM(c, layer)


FAMILY = Family(
    "minimax_m2",
    ("MiniMaxM2ForCausalLM",),
    ("minimax_m2",),
    ("minimax-m2",),
    Config,
    build,
    NAMES,
)
