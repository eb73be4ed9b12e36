"""OLMoE: q and k normed whole, and experts weighed by plain softmax.

Checked against transformers 5.23 (models/olmoe) and llama.cpp (src/models/olmoe.cpp).
"""

from typing import ClassVar, Literal

from engine.kernels.routing import Routing
from engine.models import qwen3_moe
from engine.models.experts import MoEConfig, NumExperts
from engine.models.family import Family
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(MoEConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    num_experts: NumExperts
    norm_topk_prob: bool = False

    num_experts_key: ClassVar[str] = "num_experts"


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    routing = Routing(c.num_experts_per_tok, renormalise=c.norm_topk_prob)

    def layer(_: int) -> DecoderLayer:
        router = Router(c.hidden_size, c.num_experts, routing)
        experts = Experts(c.hidden_size, c.intermediate_size, c.num_experts)
        return DecoderLayer(c, Attention(c, rope, qk_norm="full"), MoE(router, experts))

    return CausalLM(c, layer)


FAMILY = Family(
    "olmoe",
    ("OlmoeForCausalLM",),
    ("olmoe",),
    ("olmoe",),
    Config,
    build,
    qwen3_moe.NAMES,
)
