"""Many small experts beside shared ones, after a few dense layers: DeepSeekMoE, arXiv:2401.06066.

The config keys that DeepSeek gave it, and that others have taken over.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from engine.kernels.routing import Routing
from engine.models.experts import ExpertSize, MoEConfig, NumExperts
from engine.models.meta import gguf
from engine.nn.mlp import GatedMLP
from engine.nn.moe import Experts, MoE, Router

Count = Annotated[int, Meta(ge=0, le=2**20)]


class DeepSeekMoEConfig(MoEConfig, frozen=True, kw_only=True):
    n_routed_experts: NumExperts
    n_shared_experts: Annotated[Count, gguf("expert_shared_count")] = 0
    moe_intermediate_size: ExpertSize
    first_k_dense_replace: Annotated[Count, gguf("leading_dense_block_count")] = 0
    n_group: Annotated[Count, gguf("expert_group_count")] = 1
    topk_group: Annotated[Count, gguf("expert_group_used_count")] = 1
    norm_topk_prob: Annotated[bool, gguf("expert_weights_norm")] = False
    routed_scaling_factor: Annotated[float, gguf("expert_weights_scale")] = 1.0

    num_experts_key: ClassVar[str] = "n_routed_experts"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_group > 1 and self.n_routed_experts % self.n_group:
            raise ValueError(f"{self.n_routed_experts} experts in {self.n_group} groups")


def noaux_tc(c: DeepSeekMoEConfig) -> Routing:
    """DeepSeek-V3's routing, arXiv:2412.19437: sigmoids, and a bias that balances the load."""
    return Routing(
        c.num_experts_per_tok,
        score="sigmoid",
        renormalise=c.norm_topk_prob,
        scaling=c.routed_scaling_factor,
        num_groups=max(c.n_group, 1),
        top_groups=max(c.topk_group, 1),
    )


def feed_forward(c: DeepSeekMoEConfig, layer: int, routing: Routing) -> GatedMLP | MoE:
    """What a layer has: experts, or one dense network in the first layers."""
    if layer < c.first_k_dense_replace:
        return GatedMLP(c)
    corrects = routing.score == "sigmoid"
    shared_size = c.n_shared_experts * c.moe_intermediate_size
    return MoE(
        Router(c.hidden_size, c.n_routed_experts, routing, corrects=corrects),
        Experts(c.hidden_size, c.moe_intermediate_size, c.n_routed_experts),
        shared=GatedMLP(c, intermediate_size=shared_size) if shared_size else None,
    )
