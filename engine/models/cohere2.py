"""Command R7B and Command A: attention and MLP side by side, and no positions on full layers.

Checked against transformers 5.23 (models/cohere2) and llama.cpp (src/models/cohere2.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from engine.models.cohere import turned
from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import gguf
from engine.models.names import Names
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import ParallelLayer
from engine.nn.mlp import GatedMLP
from engine.nn.norm import unbiased_layer_norm
from engine.nn.rope import rope_of


class Config(SlidingConfig, LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    logit_scale: Annotated[float, gguf("logit_scale")] = 0.0625

    default_pattern: ClassVar[int] = 4
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    }


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.self_attn.q_proj": turned("blk.{i}.attn_q", "num_attention_heads"),
    "model.layers.{i}.self_attn.k_proj": turned("blk.{i}.attn_k", "num_key_value_heads"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> ParallelLayer:
        window = c.window(index)
        attention = Attention(c, rope if window else None, window=window)
        return ParallelLayer(c, attention, GatedMLP(c), norm=unbiased_layer_norm)

    return CausalLM(c, layer, logit_scale=c.logit_scale, norm=unbiased_layer_norm)


FAMILY = Family(
    "cohere2", ("Cohere2ForCausalLM",), ("cohere2",), ("cohere2",), Config, build, NAMES
)
