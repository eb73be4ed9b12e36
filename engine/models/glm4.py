"""GLM-4-0414 dense: sandwich norms, and an interleaved rope on a part of each head.

Checked against transformers 5.23 (models/glm4) and llama.cpp (src/models/glm4.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models import ernie4_5, llama
from engine.models.family import Family
from engine.models.names import Fused, Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import SandwichLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

_LAYER = "model.layers.{i}"


class Config(llama.Config, frozen=True, kw_only=True):
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 128,
        "attention_bias": True,
        "attention_out_bias": False,
        "partial_rotary_factor": 0.5,
    }


NAMES: Names = {
    **ernie4_5.NAMES,
    f"{_LAYER}.post_attention_layernorm": Name(
        "blk.{i}.post_attention_norm", hf=f"{_LAYER}.post_self_attn_layernorm"
    ),
    f"{_LAYER}.pre_feedforward_layernorm": Name(
        "blk.{i}.ffn_norm", hf=f"{_LAYER}.post_attention_layernorm"
    ),
    f"{_LAYER}.post_feedforward_layernorm": Name(
        "blk.{i}.post_ffw_norm", hf=f"{_LAYER}.post_mlp_layernorm"
    ),
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda _: SandwichLayer(c, Attention(c, rope), GatedMLP(c)))


FAMILY = Family(
    "glm4",
    ("Glm4ForCausalLM",),
    ("glm4",),
    ("glm4",),
    Config,
    build,
    NAMES,
    fused=(
        Fused("mlp.gate_up_proj", ("mlp.gate_proj", "mlp.up_proj")),
        Fused("ffn_up", ("ffn_gate", "ffn_up")),
    ),
)
