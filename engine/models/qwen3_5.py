"""Qwen3.5 and 3.6: Qwen3-Next's layers with dense feed-forward networks; their text model.

Checked against transformers 5.23 (models/qwen3_5) and llama.cpp (src/models/qwen35.cpp).
"""

from typing import Annotated

from engine.models.family import Family
from engine.models.gated_delta import NAMES, DeltaConfig, mixer
from engine.models.meta import gguf_has
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

IsTiled = Annotated[bool, gguf_has("token_embd.weight")]
"""Whether heads of values take turns with those of keys: in all GGUF files, and nowhere else."""


class Config(DeltaConfig, frozen=True, kw_only=True):
    is_tiled: IsTiled = False


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda i: DecoderLayer(c, mixer(c, i, rope, tiled=c.is_tiled), GatedMLP(c)))


FAMILY = Family(
    "qwen3_5",
    ("Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"),
    ("qwen3_5", "qwen3_5_text"),
    ("qwen35",),
    Config,
    build,
    NAMES,
)
