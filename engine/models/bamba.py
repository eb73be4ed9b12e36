"""Bamba: Mamba-2, with attention in a few layers, where half of each head is rotated.

In GGUF its architecture is Granite 4's. Checked against transformers 5.23 (models/bamba).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from engine.models.family import Family
from engine.models.hybrid import FEED_FORWARD_NAMES
from engine.models.mamba2_hybrid import NAMES as HYBRID_NAMES
from engine.models.mamba2_hybrid import Mamba2HybridConfig, mamba2
from engine.models.names import Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(Mamba2HybridConfig, frozen=True, kw_only=True):
    attn_layer_indices: tuple[int, ...] = ()

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **Mamba2HybridConfig.hf_defaults,
        "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-5,
    }

    def attends(self, layer: int) -> bool:
        return layer in self.attn_layer_indices


NAMES: Names = {**HYBRID_NAMES, **FEED_FORWARD_NAMES}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)

    def layer(index: int) -> DecoderLayer:
        mixer = Attention(c, rope) if c.attends(index) else mamba2(c)
        return DecoderLayer(c, mixer, GatedMLP(c))

    return CausalLM(c, layer)


FAMILY = Family("bamba", ("BambaForCausalLM",), ("bamba",), (), Config, build, NAMES)
