"""Mistral, Nemo and Small 3.x, alone or in the wrapper with eyes: Llama with a window.

Checked against transformers 5.23 (models/mistral). In GGUF these are `llama`, without a window.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models import llama
from engine.models.family import Family
from engine.models.meta import Size
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(llama.Config, frozen=True, kw_only=True):
    sliding_window: Size | None = None

    hf_defaults: ClassVar[Mapping[str, Any]] = {"sliding_window": 4096}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(_: int) -> DecoderLayer:
        return DecoderLayer(c, Attention(c, rope, window=c.sliding_window), GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family("mistral", ("MistralForCausalLM",), ("mistral",), (), Config, build, llama.NAMES)
