"""Granite 3 MoE: Granite with a mixture of experts, whose gate and up rows are stored as one.

Checked against transformers 5.23 (models/granitemoe) and llama.cpp (src/models/granite.cpp).
"""

from engine.kernels.routing import Routing
from engine.models import granite, llama
from engine.models.experts import MOE_NAMES, NumExperts, TopK, check_top_k
from engine.models.family import Family
from engine.models.names import Fused, Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(granite.Config, frozen=True, kw_only=True):
    num_local_experts: NumExperts
    num_experts_per_tok: TopK

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, self.num_local_experts)


_MIXTURE, _STORED = "model.layers.{i}.mlp", "model.layers.{i}.block_sparse_moe"

NAMES: Names = {
    **llama.NAMES,
    **MOE_NAMES,
    f"{_MIXTURE}.gate": Name("blk.{i}.ffn_gate_inp", hf=f"{_STORED}.router.layer"),
    f"{_MIXTURE}.experts.gate_proj": "blk.{i}.ffn_gate_exps",
    f"{_MIXTURE}.experts.up_proj": "blk.{i}.ffn_up_exps",
    f"{_MIXTURE}.experts.down_proj": Name("blk.{i}.ffn_down_exps", hf=f"{_STORED}.output_linear"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    routing = Routing(c.num_experts_per_tok, score="chosen_softmax")

    def layer(_: int) -> DecoderLayer:
        attention = Attention(c, rope, scale=c.attention_multiplier)
        router = Router(c.hidden_size, c.num_local_experts, routing)
        experts = Experts(c.hidden_size, c.intermediate_size, c.num_local_experts)
        mlp = MoE(router, experts)
        return DecoderLayer(c, attention, mlp, residual_scale=c.residual_multiplier)

    return CausalLM(c, layer, embed_scale=c.embedding_multiplier, logit_scale=1 / c.logits_scaling)


FAMILY = Family(
    "granitemoe",
    ("GraniteMoeForCausalLM",),
    ("granitemoe",),
    ("granitemoe",),
    Config,
    build,
    NAMES,
    fused=(
        Fused("block_sparse_moe.input_linear", ("mlp.experts.gate_proj", "mlp.experts.up_proj")),
    ),
)
