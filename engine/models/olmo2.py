"""OLMo 2 and OLMo 3: norms after each part, q and k normed whole; 3 slides on three layers of four.

Checked against transformers 5.23 (models/olmo2, olmo3) and llama.cpp (src/models/olmo2.cpp), where
both are `olmo2`.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from engine.models import qwen3
from engine.models.family import Family
from engine.models.names import Names
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import PostNormLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(SlidingConfig, frozen=True, kw_only=True):
    """OLMo 2 has no sliding_window. Only the full layers of OLMo 3 have their rope stretched."""

    hidden_act: Literal["silu"] = "silu"

    default_pattern: ClassVar[int] = 4
    rope_thetas: ClassVar[Mapping[str, float | None]] = {
        "full_attention": 5e5,
        "sliding_attention": None,
    }


NAMES: Names = {
    **qwen3.NAMES,
    "model.layers.{i}.post_attention_layernorm": "blk.{i}.post_attention_norm",
    "model.layers.{i}.post_feedforward_layernorm": "blk.{i}.post_ffw_norm",
}


def build(c: Config) -> CausalLM:
    ropes = {kind: rope_of(c, kind) for kind in c.rope_parameters}

    def layer(index: int) -> PostNormLayer:
        rope = ropes[c.layer_type(index)]
        attention = Attention(c, rope, window=c.window(index), qk_norm="full")
        return PostNormLayer(c, attention, GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family(
    "olmo2",
    ("Olmo2ForCausalLM", "Olmo3ForCausalLM"),
    ("olmo2", "olmo3"),
    ("olmo2",),
    Config,
    build,
    NAMES,
)
