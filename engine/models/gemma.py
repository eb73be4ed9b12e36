"""Gemma 1: Llama with norms of 1 + w, GeGLU, and embeddings scaled by sqrt(hidden_size).

Checked against transformers 5.23 (models/gemma) and llama.cpp (src/models/gemma.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from engine.kernels import ops
from engine.models.family import Family
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import Config as BaseConfig
from engine.models.names import Name, Names, plus_one
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

# The first releases said "gelu" and meant its tanh form.
Activation = Literal["gelu", "gelu_pytorch_tanh"]


class Config(BaseConfig, frozen=True, kw_only=True):
    hidden_act: Activation = "gelu_pytorch_tanh"
    hidden_activation: Activation = "gelu_pytorch_tanh"

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


def norm(gguf_name: str) -> Name:
    """Of a norm that GGUF holds with the one already added."""
    return Name(gguf_name, from_hf=plus_one)


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.input_layernorm": norm("blk.{i}.attn_norm"),
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    "model.layers.{i}.post_attention_layernorm": norm("blk.{i}.ffn_norm"),
    "model.norm": norm("output_norm"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> DecoderLayer:
        return DecoderLayer(c, Attention(c, rope), GatedMLP(c, ops.gelu_tanh_mul))

    return CausalLM(c, layer, embed_scale=c.hidden_size**0.5)


FAMILY = Family("gemma", ("GemmaForCausalLM",), ("gemma",), ("gemma",), Config, build, NAMES)
