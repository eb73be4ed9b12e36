"""Granite 4 hybrids: Mamba-2 and attention, with a shared MLP beside experts or alone.

GGUF files of Bamba are of the same architecture. Checked against transformers 5.23
(models/granitemoehybrid) and llama.cpp (src/models/granite-hybrid.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from engine.kernels.routing import Routing
from engine.models.experts import check_top_k
from engine.models.family import Family
from engine.models.granite import Multiplier
from engine.models.granitemoe import NAMES as MOE_NAMES
from engine.models.mamba2_hybrid import NAMES as HYBRID_NAMES
from engine.models.mamba2_hybrid import Mamba2HybridConfig, mamba2
from engine.models.meta import Size, gguf
from engine.models.names import Fused, Name, Names, unpermute
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer, FeedForward, Mixer
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of

Count = Annotated[int, Meta(ge=0, le=4096)]


class Config(Mamba2HybridConfig, frozen=True, kw_only=True):
    """attention_multiplier is all of the scores' scale; files of Bamba have none.

    shared_intermediate_size: of the MLP that every layer has, beside its experts if there are any;
    files of Bamba say feed_forward_length for it.
    """

    embedding_multiplier: Annotated[Multiplier, gguf("embedding_scale")] = 1.0
    attention_multiplier: Annotated[Multiplier | None, gguf("attention.scale")] = None
    residual_multiplier: Annotated[Multiplier, gguf("residual_scale")] = 1.0
    logits_scaling: Annotated[Multiplier, gguf("logit_scale")] = 1.0
    num_local_experts: Annotated[Count, gguf("expert_count")] = 0
    num_experts_per_tok: Annotated[Count, gguf("expert_used_count")] = 0
    shared_intermediate_size: Annotated[Size | None, gguf("expert_shared_feed_forward_length")] = (
        None
    )
    position_embedding_type: str | None = None

    hf_names: ClassVar[Mapping[str, str]] = {"layer_types": "layers_block_type"}
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **Mamba2HybridConfig.hf_defaults,
        "attention_multiplier": 1.0,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
        "shared_intermediate_size": 1024,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_local_experts:
            check_top_k(self.num_experts_per_tok, self.num_local_experts)

    @property
    def has_rope(self) -> bool:
        return self.position_embedding_type == "rope" or self.rope_finetuned


_MLP = "model.layers.{i}.mlp"
_SHARED = "model.layers.{i}.shared_mlp"

_ATTENTION = "model.layers.{i}.self_attn"

NAMES: Names = {
    **MOE_NAMES,
    **HYBRID_NAMES,
    # The converter permutes whole heads, Bamba's, too, of which half is turned.
    f"{_ATTENTION}.q_proj": Name("blk.{i}.attn_q", unpermute("num_attention_heads", whole=True)),
    f"{_ATTENTION}.k_proj": Name("blk.{i}.attn_k", unpermute("num_key_value_heads", whole=True)),
    f"{_MLP}.down_proj": Name("blk.{i}.ffn_down", hf=f"{_SHARED}.output_linear"),
    f"{_MLP}.shared_experts.down_proj": Name(
        "blk.{i}.ffn_down_shexp", hf=f"{_SHARED}.output_linear"
    ),
}


def feed_forward(c: Config) -> FeedForward:
    shared = GatedMLP(c, intermediate_size=c.shared_intermediate_size)
    if not c.num_local_experts:
        return shared
    routing = Routing(c.num_experts_per_tok, score="chosen_softmax")
    router = Router(c.hidden_size, c.num_local_experts, routing)
    experts = Experts(c.hidden_size, c.intermediate_size, c.num_local_experts)
    return MoE(router, experts, shared=shared)


def build(c: Config) -> CausalLM:
    rope = rope_of(c) if c.has_rope else None

    def layer(index: int) -> DecoderLayer:
        mixer: Mixer = mamba2(c)
        if c.attends(index):
            mixer = Attention(c, rope, scale=c.attention_multiplier)
        return DecoderLayer(c, mixer, feed_forward(c), residual_scale=c.residual_multiplier)

    return CausalLM(c, layer, embed_scale=c.embedding_multiplier, logit_scale=1 / c.logits_scaling)


FAMILY = Family(
    "granitemoehybrid",
    ("GraniteMoeHybridForCausalLM",),
    ("granitemoehybrid",),
    ("granitehybrid",),
    Config,
    build,
    NAMES,
    fused=(
        Fused("block_sparse_moe.input_linear", ("mlp.experts.gate_proj", "mlp.experts.up_proj")),
        Fused(
            "shared_mlp.input_linear",
            ("mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj"),
        ),
        Fused("shared_mlp.input_linear", ("mlp.gate_proj", "mlp.up_proj")),
    ),
)
