"""Phi-3.5-MoE and Phi-mini-MoE: SparseMixer's two experts, layer norms, biases.

Checked against transformers 5.23 (models/phimoe). llama.cpp (src/models/phimoe.cpp) routes by plain
softmax and norms by the root mean square: we follow transformers from GGUF, too. Long sequences have
long frequencies, as Microsoft published it (transformers 5.23 has lost that).
"""

from typing import Annotated

from msgspec import Meta

from engine.kernels.routing import Routing
from engine.models import phi3
from engine.models.experts import MIXTRAL_NAMES, NumExperts, TopK, check_top_k
from engine.models.family import Family
from engine.models.meta import gguf_has
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.norm import layer_norm
from engine.nn.rope import rope_of


class Config(phi3.Config, frozen=True, kw_only=True):
    """rms_norm_eps is that of layer norms here, in Hugging Face's words too."""

    num_local_experts: NumExperts
    num_experts_per_tok: TopK
    router_jitter_noise: Annotated[float, Meta(ge=0, lt=1)] = 0.01
    lm_head_bias: Annotated[bool, gguf_has("output.bias")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, self.num_local_experts)


NAMES: Names = {**phi3.NAMES, **MIXTRAL_NAMES}


def build(c: Config) -> CausalLM:
    rope, window = rope_of(c), c.sliding_window or None
    routing = Routing(c.num_experts_per_tok, score="sparsemixer", jitter=c.router_jitter_noise)

    def layer(_: int) -> DecoderLayer:
        router = Router(c.hidden_size, c.num_local_experts, routing)
        experts = Experts(c.hidden_size, c.intermediate_size, c.num_local_experts)
        attention = Attention(c, rope, window=window)
        return DecoderLayer(c, attention, MoE(router, experts), norm=layer_norm)

    switch = rope.length_switch
    return CausalLM(c, layer, norm=layer_norm, head_bias=c.lm_head_bias, length_switch=switch)


FAMILY = Family(
    "phimoe",
    ("PhimoeForCausalLM", "PhiMoEForCausalLM"),
    ("phimoe",),
    ("phimoe",),
    Config,
    build,
    NAMES,
)
