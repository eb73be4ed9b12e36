"""Phi-1, 1.5 and 2: attention and MLP side by side, biases everywhere.

Checked against transformers 5.23 (models/phi) and llama.cpp (src/models/phi2.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from engine.kernels import ops
from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import ParallelLayer
from engine.nn.mlp import MLP
from engine.nn.norm import layer_norm
from engine.nn.rope import rope_of


class Config(LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["gelu_new"] = "gelu_new"

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "attention_bias": True,
        "mlp_bias": True,
        "partial_rotary_factor": 0.5,
    }


NAMES: Names = {
    "model.embed_tokens": "token_embd",
    "model.layers.{i}.input_layernorm": "blk.{i}.attn_norm",
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    "model.layers.{i}.self_attn.v_proj": "blk.{i}.attn_v",
    "model.layers.{i}.self_attn.o_proj": Name(
        "blk.{i}.attn_output", hf="model.layers.{i}.self_attn.dense"
    ),
    "model.layers.{i}.self_attn.rotary_emb.inv_freq": "rope_freqs.weight",
    "model.layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf="model.layers.{i}.mlp.fc1"),
    "model.layers.{i}.mlp.down_proj": Name("blk.{i}.ffn_down", hf="model.layers.{i}.mlp.fc2"),
    "model.norm": Name("output_norm", hf="model.final_layernorm"),
    "lm_head": "output",
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> ParallelLayer:
        return ParallelLayer(c, Attention(c, rope), MLP(c, ops.gelu_tanh), norm=layer_norm)

    return CausalLM(c, layer, norm=layer_norm, head_bias=True)


FAMILY = Family("phi", ("PhiForCausalLM",), ("phi",), ("phi2",), Config, build, NAMES)
