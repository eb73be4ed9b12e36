"""Granite 3 and 4 dense: Llama with four multipliers.

Checked against transformers 5.23 (models/granite) and llama.cpp (src/models/granite.cpp).
"""

from typing import Annotated

from msgspec import Meta

from engine.models import llama
from engine.models.family import Family
from engine.models.meta import gguf
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

Multiplier = Annotated[float, Meta(gt=0)]


class Config(llama.Config, frozen=True, kw_only=True):
    """attention_multiplier is all of the scores' scale; logits are divided by logits_scaling."""

    embedding_multiplier: Annotated[Multiplier, gguf("embedding_scale")] = 1.0
    attention_multiplier: Annotated[Multiplier, gguf("attention.scale")] = 1.0
    residual_multiplier: Annotated[Multiplier, gguf("residual_scale")] = 1.0
    logits_scaling: Annotated[Multiplier, gguf("logit_scale")] = 1.0


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> DecoderLayer:
        attention = Attention(c, rope, scale=c.attention_multiplier)
        return DecoderLayer(c, attention, GatedMLP(c), residual_scale=c.residual_multiplier)

    return CausalLM(c, layer, embed_scale=c.embedding_multiplier, logit_scale=1 / c.logits_scaling)


FAMILY = Family(
    "granite",
    ("GraniteForCausalLM",),
    ("granite",),
    ("granite",),
    Config,
    build,
    llama.NAMES,
)
