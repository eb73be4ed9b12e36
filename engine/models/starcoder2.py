"""StarCoder2: Llama with layer norms, biases everywhere and an MLP without a gate.

Checked against transformers 5.23 (models/starcoder2) and llama.cpp (src/models/starcoder2.cpp),
which has no key for the sliding window.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from engine.kernels import ops
from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import Size
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import MLP
from engine.nn.norm import layer_norm
from engine.nn.rope import rope_of


class Config(LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    sliding_window: Size | None = None

    hf_names: ClassVar[Mapping[str, str]] = {
        "attention_bias": "use_bias",
        "mlp_bias": "use_bias",
        "rms_norm_eps": "norm_epsilon",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "attention_bias": True,
        "mlp_bias": True,
        "tie_word_embeddings": True,
    }


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    "model.layers.{i}.mlp.up_proj": Name("blk.{i}.ffn_up", hf="model.layers.{i}.mlp.c_fc"),
    "model.layers.{i}.mlp.down_proj": Name("blk.{i}.ffn_down", hf="model.layers.{i}.mlp.c_proj"),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> DecoderLayer:
        attention = Attention(c, rope, window=c.sliding_window)
        return DecoderLayer(c, attention, MLP(c, ops.gelu_tanh), norm=layer_norm)

    return CausalLM(c, layer, norm=layer_norm)


FAMILY = Family(
    "starcoder2",
    ("Starcoder2ForCausalLM",),
    ("starcoder2",),
    ("starcoder2",),
    Config,
    build,
    NAMES,
)
