"""Llama 1, 2, 3 and 3.x, and what was built alike: SmolLM, SmolLM2, Yi, Falcon3.

Checked against transformers 5.23 (models/llama) and llama.cpp (src/models/llama.cpp).
"""

from typing import Literal

from engine.models.family import Family
from engine.models.meta import Config as BaseConfig
from engine.models.names import Name, Names, unpermute
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(BaseConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"


NAMES: Names = {
    "model.embed_tokens": "token_embd",
    "model.layers.{i}.input_layernorm": "blk.{i}.attn_norm",
    "model.layers.{i}.self_attn.q_proj": Name("blk.{i}.attn_q", unpermute("num_attention_heads")),
    "model.layers.{i}.self_attn.k_proj": Name("blk.{i}.attn_k", unpermute("num_key_value_heads")),
    "model.layers.{i}.self_attn.v_proj": "blk.{i}.attn_v",
    "model.layers.{i}.self_attn.o_proj": "blk.{i}.attn_output",
    # llama3's stretching, as divisors of the plain frequencies.
    "model.layers.{i}.self_attn.rotary_emb.inv_freq": "rope_freqs.weight",
    "model.layers.{i}.post_attention_layernorm": "blk.{i}.ffn_norm",
    "model.layers.{i}.mlp.gate_proj": "blk.{i}.ffn_gate",
    "model.layers.{i}.mlp.up_proj": "blk.{i}.ffn_up",
    "model.layers.{i}.mlp.down_proj": "blk.{i}.ffn_down",
    "model.norm": "output_norm",
    "lm_head": "output",
    "score": "cls.output",
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda _: DecoderLayer(c, Attention(c, rope), GatedMLP(c)))


FAMILY = Family("llama", ("LlamaForCausalLM",), ("llama",), ("llama",), Config, build, NAMES)
