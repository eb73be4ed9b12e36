"""Seed-OSS: Qwen2 with a head_dim of its own.

Checked against transformers 5.23 (models/seed_oss) and llama.cpp (src/models/seed-oss.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models import llama, qwen2
from engine.models.family import Family
from engine.models.names import Names


class Config(llama.Config, frozen=True, kw_only=True):
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "head_dim": 128,
        "attention_bias": True,
        "attention_out_bias": False,
    }


NAMES: Names = {
    **qwen2.NAMES,
    "model.layers.{i}.post_attention_layernorm": "blk.{i}.post_attention_norm",
}

FAMILY = Family(
    "seed_oss",
    ("SeedOssForCausalLM",),
    ("seed_oss",),
    ("seed_oss",),
    Config,
    llama.build,
    NAMES,
)
