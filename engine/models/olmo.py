"""OLMo 1: Llama with layer norms that have learnt nothing, in some sizes with q, k and v clamped.

Checked against transformers 5.23 (models/olmo) and llama.cpp (src/models/olmo.cpp).
"""

from typing import Annotated, Literal

from msgspec import Meta
from torch import Tensor

from engine.kernels import ops
from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.llama import NAMES
from engine.models.meta import gguf
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.norm import bare_layer_norm
from engine.nn.rope import Rope, rope_of

Limit = Annotated[float, Meta(ge=0)]


class Config(LayerNormConfig, frozen=True, kw_only=True):
    hidden_act: Literal["silu"] = "silu"
    clip_qkv: Annotated[Limit | None, gguf("attention.clamp_kqv")] = None


class ClippedAttention(Attention):
    def __init__(self, c: Config, rope: Rope, limit: float) -> None:
        super().__init__(c, rope)
        self._limit = limit

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x)
        return ops.clamp(q, self._limit), ops.clamp(k, self._limit), ops.clamp(v, self._limit)


def build(c: Config) -> CausalLM:
    rope, limit = rope_of(c), c.clip_qkv

    def layer(_: int) -> DecoderLayer:
        attention = ClippedAttention(c, rope, limit) if limit else Attention(c, rope)
        return DecoderLayer(c, attention, GatedMLP(c), norm=bare_layer_norm)

    return CausalLM(c, layer, norm=bare_layer_norm)


FAMILY = Family("olmo", ("OlmoForCausalLM",), ("olmo",), ("olmo",), Config, build, NAMES)
