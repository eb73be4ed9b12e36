"""LFM2-MoE: LFM2, with a mixture of experts after the first, dense layers.

Checked against transformers 5.23 (models/lfm2_moe) and llama.cpp (src/models/lfm2.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from engine.kernels.routing import Routing
from engine.models.experts import (
    FEED_FORWARD_NAMES,
    ExpertSize,
    NumExperts,
    TopK,
    check_top_k,
)
from engine.models.family import Family
from engine.models.lfm2 import DENSE_NAMES, LAYER_NAMES, LayerConfig, mixer
from engine.models.meta import gguf, gguf_has
from engine.models.names import Name, Names
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer, FeedForward
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(LayerConfig, frozen=True, kw_only=True):
    """norm_topk_prob: GGUF has no key for it, and its files are of models that have it so."""

    num_experts: NumExperts
    num_experts_per_tok: TopK
    moe_intermediate_size: ExpertSize
    expert_gating_func: Annotated[Literal[2], gguf("expert_gating_func")] = 2  # GGUF's sigmoid
    num_dense_layers: Annotated[int, gguf("leading_dense_block_count")] = 0
    use_expert_bias: Annotated[bool, gguf_has("blk.*.exp_probs_b.bias")] = True
    norm_topk_prob: bool = True
    routed_scaling_factor: Annotated[float, gguf("expert_weights_scale")] = 1.0

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "num_dense_layers": 2,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, self.num_experts)


NAMES: Names = {
    **LAYER_NAMES,
    **DENSE_NAMES,
    **FEED_FORWARD_NAMES,
    "model.layers.{i}.mlp.gate.e_score_correction_bias": Name(
        "blk.{i}.exp_probs_b.bias", hf="model.layers.{i}.feed_forward.expert_bias"
    ),
}


def mixture(c: Config) -> MoE:
    routing = Routing(
        c.num_experts_per_tok,
        score="sigmoid",
        renormalise=c.norm_topk_prob,
        scaling=c.routed_scaling_factor,
    )
    return MoE(
        Router(c.hidden_size, c.num_experts, routing, corrects=c.use_expert_bias),
        Experts(c.hidden_size, c.moe_intermediate_size, c.num_experts),
    )


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        mlp: FeedForward = GatedMLP(c) if index < c.num_dense_layers else mixture(c)
        return DecoderLayer(c, mixer(c, index, rope), mlp)

    return CausalLM(c, layer)


FAMILY = Family(
    "lfm2_moe",
    ("Lfm2MoeForCausalLM",),
    ("lfm2_moe",),
    ("lfm2moe",),
    Config,
    build,
    NAMES,
)
