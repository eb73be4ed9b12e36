"""Qwen3: Qwen2 with q and k of each head normed, and without its biases.

Checked against transformers 5.23 (models/qwen3) and llama.cpp (src/models/qwen3.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models import qwen2
from engine.models.family import Family
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(qwen2.Config, frozen=True, kw_only=True):
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 128,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
    }


NAMES: Names = {
    **qwen2.NAMES,
    "model.layers.{i}.self_attn.q_norm": "blk.{i}.attn_q_norm",
    "model.layers.{i}.self_attn.k_norm": "blk.{i}.attn_k_norm",
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        attention = Attention(c, rope, window=c.window(index), qk_norm="head")
        return DecoderLayer(c, attention, GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family("qwen3", ("Qwen3ForCausalLM",), ("qwen3",), ("qwen3",), Config, build, NAMES)
