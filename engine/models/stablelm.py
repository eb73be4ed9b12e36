"""StableLM 3B, 2-1.6B and 2-12B: Llama with layer norms, and in the 12B with both parts in parallel.

Checked against transformers 5.23 (models/stablelm) and llama.cpp (src/models/stablelm.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import gguf, gguf_has
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.head_normed import HeadNormedAttention
from engine.nn.layer import DecoderLayer, Layer, ParallelLayer
from engine.nn.mlp import GatedMLP
from engine.nn.norm import layer_norm
from engine.nn.rope import rope_of


class Config(LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    qk_layernorm: Annotated[bool, gguf_has("blk.0.attn_q_norm.weight")] = False
    use_parallel_residual: Annotated[bool, gguf("use_parallel_residual")] = False

    hf_names: ClassVar[Mapping[str, str]] = {
        "attention_bias": "use_qkv_bias",
        "rms_norm_eps": "layer_norm_eps",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "attention_out_bias": False,
        "partial_rotary_factor": 0.25,
    }


def _head_norms(kind: str) -> Name:
    norms = f"model.layers.{{i}}.self_attn.{kind}_layernorm.norms.{{n}}"
    return Name(f"blk.{{i}}.attn_{kind}_norm", hf=norms)


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    "model.layers.{i}.self_attn.q_layernorm": _head_norms("q"),
    "model.layers.{i}.self_attn.k_layernorm": _head_norms("k"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> Layer:
        attention = HeadNormedAttention(c, rope) if c.qk_layernorm else Attention(c, rope)
        joined = ParallelLayer if c.use_parallel_residual else DecoderLayer
        return joined(c, attention, GatedMLP(c), norm=layer_norm)

    return CausalLM(c, layer, norm=layer_norm)


FAMILY = Family(
    "stablelm",
    ("StableLmForCausalLM",),
    ("stablelm",),
    ("stablelm",),
    Config,
    build,
    NAMES,
)
