"""DeepSeek V3.2: V3 whose attention sees only the tokens that an indexer picks.

Checked against transformers 5.23 (models/deepseek_v32) and llama.cpp (src/models/deepseek32.cpp).
"""

from typing import Annotated, Literal

from engine.models import deepseek
from engine.models.deepseek_moe import feed_forward
from engine.models.family import Family
from engine.models.meta import Size, gguf
from engine.models.names import Names
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.rope import Rope
from engine.nn.sparse_mla import SparseLatentAttention


class Config(deepseek.Config, frozen=True, kw_only=True):
    q_lora_rank: Annotated[Size, gguf("attention.q_lora_rank")]
    index_n_heads: Annotated[Size, gguf("attention.indexer.head_count")]
    index_head_dim: Annotated[Size, gguf("attention.indexer.key_length")]
    index_topk: Annotated[Size, gguf("attention.indexer.top_k")]
    layer_types: tuple[Literal["indexed_attention"], ...] = ()
    mlp_layer_types: tuple[Literal["dense", "sparse"], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.index_head_dim < self.qk_rope_head_dim:
            sizes = f"index_head_dim {self.index_head_dim} below {self.qk_rope_head_dim}"
            raise ValueError(f"{sizes}, the rope's")
        dense = self.first_k_dense_replace
        kinds = tuple("dense" if i < dense else "sparse" for i in range(self.num_hidden_layers))
        if self.mlp_layer_types and self.mlp_layer_types != kinds:
            raise ValueError(f"mlp_layer_types other than {dense} dense and the rest sparse")


_INDEXER = "model.layers.{i}.self_attn.indexer"

NAMES: Names = {
    **deepseek.NAMES,
    f"{_INDEXER}.wq_b": "blk.{i}.indexer.attn_q_b",
    f"{_INDEXER}.wk": "blk.{i}.indexer.attn_k",
    f"{_INDEXER}.k_norm": "blk.{i}.indexer.k_norm",
    f"{_INDEXER}.weights_proj": "blk.{i}.indexer.proj",
}


def build(c: Config) -> CausalLM:
    rope = Rope(c.rope_parameters["full_attention"], c.qk_rope_head_dim, c.max_position_embeddings)

    def layer(index: int) -> DecoderLayer:
        attention = SparseLatentAttention(c, rope)
        return DecoderLayer(c, attention, feed_forward(c, index, c.routing))

    return CausalLM(c, layer)


FAMILY = Family(
    "deepseek_v32",
    ("DeepseekV32ForCausalLM",),
    ("deepseek_v32",),
    ("deepseek32",),
    Config,
    build,
    NAMES,
)
