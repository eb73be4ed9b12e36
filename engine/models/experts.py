"""What families with mixtures of experts share: config fields, and where the tensors are.

The blocks are those of `engine.nn.moe`, with the mixture at `mlp` of a layer.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from engine.models.meta import Config, Size, gguf
from engine.models.names import Name, Names

NumExperts = Annotated[int, Meta(ge=1, le=4096), gguf("expert_count")]
TopK = Annotated[int, Meta(ge=1, le=4096), gguf("expert_used_count")]
ExpertSize = Annotated[Size, gguf("expert_feed_forward_length")]
SharedSize = Annotated[Size, gguf("expert_shared_feed_forward_length")]


class MoEConfig(Config, frozen=True, kw_only=True):
    """num_experts_key: the family's own word for how many experts there are."""

    num_experts_per_tok: TopK

    num_experts_key: ClassVar[str] = "num_local_experts"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_top_k(self.num_experts_per_tok, getattr(self, self.num_experts_key))


def check_top_k(top_k: int, num_experts: int) -> None:
    if top_k > num_experts:
        raise ValueError(f"{top_k} experts per token, of {num_experts}")


_LAYER = "model.layers.{i}"


def _names(block: str, gate: str, up: str, down: str) -> Names:
    """block: what Hugging Face calls `mlp`; gate, up, down: what it calls an expert's matrices."""
    mixture, experts = f"{_LAYER}.mlp", f"{_LAYER}.{block}.experts.{{n}}"
    return {
        f"{mixture}.gate": Name("blk.{i}.ffn_gate_inp", hf=f"{_LAYER}.{block}.gate"),
        f"{mixture}.experts.gate_proj": Name("blk.{i}.ffn_gate_exps", hf=f"{experts}.{gate}"),
        f"{mixture}.experts.up_proj": Name("blk.{i}.ffn_up_exps", hf=f"{experts}.{up}"),
        f"{mixture}.experts.down_proj": Name("blk.{i}.ffn_down_exps", hf=f"{experts}.{down}"),
    }


MIXTRAL_NAMES = _names("block_sparse_moe", "w1", "w3", "w2")
"""Mixtral's, MiniMax's and PhiMoE's."""

FEED_FORWARD_NAMES = _names("feed_forward", "w1", "w3", "w2")
"""LFM2's."""

MOE_NAMES: Names = {
    **_names("mlp", "gate_proj", "up_proj", "down_proj"),
    f"{_LAYER}.mlp.gate.e_score_correction_bias": "blk.{i}.exp_probs_b.bias",
    f"{_LAYER}.mlp.shared_experts.gate_proj": "blk.{i}.ffn_gate_shexp",
    f"{_LAYER}.mlp.shared_experts.up_proj": "blk.{i}.ffn_up_shexp",
    f"{_LAYER}.mlp.shared_experts.down_proj": "blk.{i}.ffn_down_shexp",
}
"""Everyone else's: Qwen's, DeepSeek's, OLMoE's, GLM's."""
