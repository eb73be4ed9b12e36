"""Qwen3.5 and 3.6 with experts: their text model.

Checked against transformers 5.23 (models/qwen3_5_moe) and llama.cpp (src/models/qwen35moe.cpp).
"""

from typing import Annotated

from msgspec import Meta

from engine.models import gated_delta, qwen2_moe
from engine.models.family import Family
from engine.models.gated_delta import mixer
from engine.models.meta import gguf
from engine.models.qwen3_5 import IsTiled
from engine.models.qwen3_next import MixtureConfig, feed_forward
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.rope import rope_of


class Config(MixtureConfig, frozen=True, kw_only=True):
    """intermediate_size: no layer is dense."""

    intermediate_size: Annotated[int, Meta(ge=0), gguf("feed_forward_length")] = 0
    is_tiled: IsTiled = False


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(
        c, lambda i: DecoderLayer(c, mixer(c, i, rope, tiled=c.is_tiled), feed_forward(c, i))
    )


FAMILY = Family(
    "qwen3_5_moe",
    ("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"),
    ("qwen3_5_moe", "qwen3_5_moe_text"),
    ("qwen35moe",),
    Config,
    build,
    {**qwen2_moe.NAMES, **gated_delta.NAMES},
)
