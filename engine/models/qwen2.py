"""Qwen2, Qwen2.5, QwQ and the R1 distillations onto them: Llama with biases on q, k and v.

Checked against transformers 5.23 (models/qwen2) and llama.cpp (src/models/qwen2.cpp).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec.structs import force_setattr

from engine.models import llama
from engine.models.family import Family
from engine.models.names import Names
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of


class Config(SlidingConfig, frozen=True, kw_only=True):
    """Layers from max_window_layers on slide, but only where use_sliding_window says so."""

    hidden_act: Literal["silu"] = "silu"
    use_sliding_window: bool = True
    max_window_layers: int = 0

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "attention_bias": True,
        "attention_out_bias": False,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.use_sliding_window:
            force_setattr(self, "sliding_window", None)

    def slides(self, layer: int) -> bool:
        return super().slides(layer) if self.layer_types else layer >= self.max_window_layers


NAMES: Names = {
    **llama.NAMES,
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
}


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(
        c, lambda i: DecoderLayer(c, Attention(c, rope, window=c.window(i)), GatedMLP(c))
    )


FAMILY = Family("qwen2", ("Qwen2ForCausalLM",), ("qwen2",), ("qwen2",), Config, build, NAMES)
