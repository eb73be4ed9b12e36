"""EXAONE 4: OLMo 2's norms, q and k normed by head; where layers slide, full ones have no rope.

Checked against transformers 5.23 (models/exaone4) and llama.cpp (src/models/exaone4.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from engine.models import olmo2
from engine.models.family import Family
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import PostNormLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(SlidingConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"

    default_pattern: ClassVar[int] = 4
    hf_defaults: ClassVar[Mapping[str, Any]] = {"sliding_window": 4096}

    def has_rope(self, layer: int) -> bool:
        return self.sliding_window is None or self.slides(layer)


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> PostNormLayer:
        turned = rope if c.has_rope(index) else None
        attention = Attention(c, turned, window=c.window(index), qk_norm="head")
        return PostNormLayer(c, attention, GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family(
    "exaone4",
    ("Exaone4ForCausalLM",),
    ("exaone4",),
    ("exaone4",),
    Config,
    build,
    olmo2.NAMES,
)
