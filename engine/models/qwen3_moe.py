"""Qwen3-MoE: Qwen3, with a mixture of experts as the feed-forward network of its layers.

Checked against transformers 5.23 (models/qwen3_moe) and llama.cpp (src/models/qwen3moe.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.kernels.routing import Routing
from engine.models import qwen3
from engine.models.experts import MOE_NAMES, ExpertSize, MoEConfig
from engine.models.family import Family
from engine.models.meta import gguf
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router
from engine.nn.rope import rope_of


class Config(MoEConfig, frozen=True, kw_only=True):
    """norm_topk_prob: GGUF has no key for it, and its files are of models that have it so."""

    hidden_act: Literal["silu"] = "silu"
    num_experts: Annotated[int, Meta(ge=0, le=4096), gguf("expert_count")] = 0
    num_local_experts: int = 0  # what releases of transformers write for num_experts, or beside it
    moe_intermediate_size: ExpertSize
    norm_topk_prob: bool = True
    decoder_sparse_step: int = 1
    mlp_only_layers: tuple[int, ...] = ()
    use_sliding_window: Literal[False] = False
    sliding_window: int | None = None  # of no effect without use_sliding_window

    num_experts_key: ClassVar[str] = "num_experts"
    hf_defaults: ClassVar[Mapping[str, Any]] = {"norm_topk_prob": False}

    def __post_init__(self) -> None:
        force_setattr(self, "num_experts", self.num_experts or self.num_local_experts)
        super().__post_init__()

    def is_sparse(self, layer: int) -> bool:
        """Whether the layer has experts; the others are dense."""
        return layer not in self.mlp_only_layers and (layer + 1) % self.decoder_sparse_step == 0


NAMES: Names = {**qwen3.NAMES, **MOE_NAMES}


def mixture(c: Config) -> MoE:
    routing = Routing(c.num_experts_per_tok, renormalise=c.norm_topk_prob)
    return MoE(
        Router(c.hidden_size, c.num_experts, routing),
        Experts(c.hidden_size, c.moe_intermediate_size, c.num_experts),
    )


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        mlp = mixture(c) if c.is_sparse(index) else GatedMLP(c)
        return DecoderLayer(c, Attention(c, rope, qk_norm="head"), mlp)

    return CausalLM(c, layer)


FAMILY = Family(
    "qwen3_moe",
    ("Qwen3MoeForCausalLM",),
    ("qwen3_moe",),
    ("qwen3moe",),
    Config,
    build,
    NAMES,
)
