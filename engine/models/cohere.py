"""Command R and R+: attention and MLP side by side, pairs of rope that lie side by side.

Checked against transformers 5.23 (models/cohere) and llama.cpp (src/models/command-r.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import Config as BaseConfig
from engine.models.meta import gguf, gguf_has
from engine.models.names import Name, Names, unpermute
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.head_normed import HeadNormedAttention
from engine.nn.layer import ParallelLayer
from engine.nn.mlp import GatedMLP
from engine.nn.norm import unbiased_layer_norm
from engine.nn.rope import rope_of


class Config(LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    logit_scale: Annotated[float, gguf("logit_scale")] = 0.0625
    use_qk_norm: Annotated[bool, gguf_has("blk.0.attn_q_norm.weight")] = False

    hf_defaults: ClassVar[Mapping[str, Any]] = {"rope_theta": 5e5, "tie_word_embeddings": True}


def turned(gguf_name: str, num_heads: str) -> Name:
    """Of rows whose pairs lie side by side, in either format."""
    return Name(gguf_name, unpermute(num_heads), unpermute(num_heads))


def _turned_norm(kind: str, num_heads: str) -> Name:
    """Of norms of heads, whose values belong to such rows."""
    rows = unpermute(num_heads)

    def apply(norms: Tensor, config: BaseConfig) -> Tensor:
        return rows(norms.flatten(), config).view(norms.shape)

    hf = f"model.layers.{{i}}.self_attn.{kind}_norm"
    return Name(f"blk.{{i}}.attn_{kind}_norm", apply, apply, hf)


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.self_attn.q_proj": turned("blk.{i}.attn_q", "num_attention_heads"),
    "model.layers.{i}.self_attn.k_proj": turned("blk.{i}.attn_k", "num_key_value_heads"),
    "model.layers.{i}.self_attn.q_layernorm": _turned_norm("q", "num_attention_heads"),
    "model.layers.{i}.self_attn.k_layernorm": _turned_norm("k", "num_key_value_heads"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> ParallelLayer:
        attention = HeadNormedAttention(c, rope) if c.use_qk_norm else Attention(c, rope)
        return ParallelLayer(c, attention, GatedMLP(c), norm=unbiased_layer_norm)

    return CausalLM(c, layer, logit_scale=c.logit_scale, norm=unbiased_layer_norm)


FAMILY = Family("cohere", ("CohereForCausalLM",), ("cohere",), ("command-r",), Config, build, NAMES)
