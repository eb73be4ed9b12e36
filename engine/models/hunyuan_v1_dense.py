"""Hunyuan dense: Llama with q and k normed by head once they are turned, and a stretched base.

Checked against transformers 5.23 (models/hunyuan_v1_dense) and llama.cpp
(src/models/hunyuan-vl.cpp), whose files have the stretched base itself.
"""

from engine.models import llama, qwen2
from engine.models.family import Family
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

_ATTENTION = "model.layers.{i}.self_attn"

NAMES: Names = {
    **qwen2.NAMES,
    f"{_ATTENTION}.q_norm": Name("blk.{i}.attn_q_norm", hf=f"{_ATTENTION}.query_layernorm"),
    f"{_ATTENTION}.k_norm": Name("blk.{i}.attn_k_norm", hf=f"{_ATTENTION}.key_layernorm"),
}


def build(c: llama.Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda _: DecoderLayer(c, Attention(c, rope, qk_norm="turned"), GatedMLP(c)))


FAMILY = Family(
    "hunyuan_v1_dense",
    ("HunYuanDenseV1ForCausalLM",),
    ("hunyuan_v1_dense",),
    ("hunyuan-dense",),
    llama.Config,
    build,
    NAMES,
)
