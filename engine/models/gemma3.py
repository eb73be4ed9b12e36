"""Gemma 3, the text model alone or inside its vision-language wrapper.

Checked against transformers 5.23 (models/gemma3) and llama.cpp (src/models/gemma3.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.kernels import ops
from engine.models.family import Family
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.meta import Config as BaseConfig
from engine.models.meta import Size, gguf
from engine.models.names import Name, Names, plus_one
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import SandwichLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import Rope

LayerType = Literal["full_attention", "sliding_attention"]
Cap = Annotated[float, Meta(gt=0)]

_NUM_LAYERS_27B = 62


class Config(BaseConfig, frozen=True, kw_only=True):
    """layer_types wins over sliding_window_pattern: a period p, whose last layer is full."""

    hidden_activation: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    query_pre_attn_scalar: Annotated[float, Meta(ge=0)] = 0
    sliding_window: Annotated[Size, gguf("attention.sliding_window")]
    sliding_window_pattern: Annotated[
        Size | tuple[bool, ...], gguf("attention.sliding_window_pattern")
    ] = 6
    layer_types: tuple[LayerType, ...] = ()
    attn_logit_softcapping: Annotated[Cap | None, gguf("attn_logit_softcapping")] = None
    final_logit_softcapping: Annotated[Cap | None, gguf("final_logit_softcapping")] = None
    use_bidirectional_attention: Literal[False] = False

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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.query_pre_attn_scalar:
            # GGUF has no key for it; llama.cpp, too, knows the 27B by its number of layers.
            is_27b = self.num_hidden_layers == _NUM_LAYERS_27B
            scalar = self.hidden_size / self.num_attention_heads if is_27b else self.head_dim
            force_setattr(self, "query_pre_attn_scalar", float(scalar))
        for given in (self.layer_types, self.sliding_window_pattern):
            if given and isinstance(given, tuple) and len(given) != self.num_hidden_layers:
                raise ValueError(f"{len(given)} layer types, {self.num_hidden_layers} layers")

    def is_sliding(self, layer: int) -> bool:
        if self.layer_types:
            return self.layer_types[layer] == "sliding_attention"
        if isinstance(self.sliding_window_pattern, tuple):
            return self.sliding_window_pattern[layer]
        return (layer + 1) % self.sliding_window_pattern != 0


def _norm(gguf_name: str) -> Name:
    return Name(gguf_name, from_hf=plus_one)


NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.input_layernorm": _norm("blk.{i}.attn_norm"),
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    "model.layers.{i}.self_attn.q_norm": _norm("blk.{i}.attn_q_norm"),
    "model.layers.{i}.self_attn.k_norm": _norm("blk.{i}.attn_k_norm"),
    "model.layers.{i}.post_attention_layernorm": _norm("blk.{i}.post_attention_norm"),
    "model.layers.{i}.pre_feedforward_layernorm": _norm("blk.{i}.ffn_norm"),
    "model.layers.{i}.post_feedforward_layernorm": _norm("blk.{i}.post_ffw_norm"),
    "model.norm": _norm("output_norm"),
}


def build(c: Config) -> CausalLM:
    positions = c.max_position_embeddings
    full = Rope(c.rope_parameters["full_attention"], c.head_dim, positions)
    local = Rope(c.rope_parameters["sliding_attention"], c.head_dim, positions)

    def layer(index: int) -> SandwichLayer:
        attention = Attention(
            c,
            local if c.is_sliding(index) else full,
            scale=c.query_pre_attn_scalar**-0.5,
            window=c.sliding_window if c.is_sliding(index) else None,
            qk_norm=True,
            softcap=c.attn_logit_softcapping,
        )
        return SandwichLayer(c, attention, GatedMLP(c, ops.gelu_tanh_mul))

    return CausalLM(
        c,
        layer,
        embed_scale=c.hidden_size**0.5,
        final_softcap=c.final_logit_softcapping,
    )


FAMILY = Family(
    "gemma3",
    ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    ("gemma3_text", "gemma3"),
    ("gemma3",),
    Config,
    build,
    NAMES,
)
