"""Gemma 3, the text model alone or inside its vision-language wrapper.

Gemma 2 with normed q and k, five sliding layers to a full one, and a rope for each kind.
Checked against transformers 5.23 (models/gemma3) and llama.cpp (src/models/gemma3.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models import gemma2
from engine.models.family import Family
from engine.models.gemma import norm
from engine.models.names import Names
from engine.nn.decoder import CausalLM


class Config(gemma2.Config, frozen=True, kw_only=True):
    default_pattern: ClassVar[int] = 6
    num_layers_27b: ClassVar[int] = 62

    rope_thetas: ClassVar[Mapping[str, float]] = {
        "full_attention": 1e6,
        "sliding_attention": 1e4,
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "tie_word_embeddings": True,
    }


NAMES: Names = {
    **gemma2.NAMES,
    "model.layers.{i}.self_attn.q_norm": norm("blk.{i}.attn_q_norm"),
    "model.layers.{i}.self_attn.k_norm": norm("blk.{i}.attn_k_norm"),
}


def build(c: Config) -> CausalLM:
    return gemma2.build(c, qk_norm="head")


FAMILY = Family(
    "gemma3",
    ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    ("gemma3_text", "gemma3"),
    ("gemma3",),
    Config,
    build,
    NAMES,
)
