"""Mixtral: Llama with a mixture of experts in place of the feed-forward network.

In GGUF its architecture is called llama, too.
Checked against transformers 5.23 (models/mixtral) and llama.cpp (src/models/llama.cpp).
"""

from typing import Literal

from engine.kernels.routing import Routing
from engine.models import llama
from engine.models.experts import MIXTRAL_NAMES, MoEConfig, NumExperts
from engine.models.family import Family
from engine.models.meta import Size
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(MoEConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    num_local_experts: NumExperts
    sliding_window: Size | None = None


NAMES: Names = {**llama.NAMES, **MIXTRAL_NAMES}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    routing = Routing(c.num_experts_per_tok, renormalise=True)

    def layer(_: int) -> DecoderLayer:
        router = Router(c.hidden_size, c.num_local_experts, routing)
        experts = Experts(c.hidden_size, c.intermediate_size, c.num_local_experts)
        attention = Attention(c, rope, window=c.sliding_window)
        return DecoderLayer(c, attention, MoE(router, experts))

    return CausalLM(c, layer)


FAMILY = Family(
    "mixtral",
    ("MixtralForCausalLM",),
    ("mixtral",),
    ("llama with experts",),
    Config,
    build,
    NAMES,
)
