"""Gemma 2: sandwich norms, a sliding window on every second layer, bounded scores and logits.

Checked against transformers 5.23 (models/gemma2) and llama.cpp (src/models/gemma2.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.kernels import ops
from engine.models import gemma
from engine.models.family import Family
from engine.models.gemma import norm
from engine.models.meta import Size, gguf
from engine.models.names import Names
from engine.models.sliding import SlidingConfig
from engine.nn.attention import Attention, QKNorm
from engine.nn.decoder import CausalLM
from engine.nn.layer import SandwichLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of

Cap = Annotated[float, Meta(gt=0)]


class Config(SlidingConfig, frozen=True, kw_only=True):
    hidden_act: gemma.Activation = "gelu_pytorch_tanh"
    hidden_activation: gemma.Activation = "gelu_pytorch_tanh"
    query_pre_attn_scalar: Annotated[float, Meta(ge=0)] = 0
    sliding_window: Annotated[Size, gguf("attention.sliding_window")]
    attn_logit_softcapping: Annotated[Cap | None, gguf("attn_logit_softcapping")] = None
    final_logit_softcapping: Annotated[Cap | None, gguf("final_logit_softcapping")] = None

    default_pattern: ClassVar[int] = 2
    num_layers_27b: ClassVar[int] = 46

    hf_defaults: ClassVar[Mapping[str, Any]] = {
        **gemma.Config.hf_defaults,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.query_pre_attn_scalar:
            # GGUF has no key for it; llama.cpp, too, knows the 27B by its number of layers.
            is_27b = self.num_hidden_layers == self.num_layers_27b
            scalar = self.hidden_size / self.num_attention_heads if is_27b else self.head_dim
            force_setattr(self, "query_pre_attn_scalar", float(scalar))


NAMES: Names = {
    **gemma.NAMES,
    "model.layers.{i}.post_attention_layernorm": norm("blk.{i}.post_attention_norm"),
    "model.layers.{i}.pre_feedforward_layernorm": norm("blk.{i}.ffn_norm"),
    "model.layers.{i}.post_feedforward_layernorm": norm("blk.{i}.post_ffw_norm"),
}


def build(c: Config, *, qk_norm: QKNorm | None = None) -> CausalLM:
    """qk_norm: as in `Attention`. Without a rope of their own, sliding layers turn as full ones."""
    ropes = {layer_type: rope_of(c, layer_type) for layer_type in c.rope_parameters}

    def layer(index: int) -> SandwichLayer:
        attention = Attention(
            c,
            ropes.get(c.layer_type(index), ropes["full_attention"]),
            scale=c.query_pre_attn_scalar**-0.5,
            window=c.window(index),
            qk_norm=qk_norm,
            softcap=c.attn_logit_softcapping,
        )
        return SandwichLayer(c, attention, GatedMLP(c, ops.gelu_tanh_mul))

    return CausalLM(
        c,
        layer,
        embed_scale=c.hidden_size**0.5,
        final_softcap=c.final_logit_softcapping,
    )


FAMILY = Family("gemma2", ("Gemma2ForCausalLM",), ("gemma2",), ("gemma2",), Config, build, NAMES)
