"""LFM2: short convolutions, with attention in every few layers.

Checked against transformers 5.23 (models/lfm2) and llama.cpp (src/models/lfm2.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.family import Family
from engine.models.hybrid import HybridConfig
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer, Mixer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import Rope, rope_of
from engine.nn.short_conv import ShortConv

LayerType = Literal["conv", "full_attention"]


class LayerConfig(HybridConfig, frozen=True, kw_only=True):
    """What layers of all of LFM2's kinds declare."""

    layer_types: tuple[LayerType, ...] = ()
    conv_L_cache: Annotated[int, Meta(ge=2, le=64), gguf("shortconv.l_cache")] = 3  # noqa: N815
    conv_bias: Annotated[bool, gguf_has("blk.*.shortconv.conv.bias")] = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 1e6}
    hf_names: ClassVar[Mapping[str, str]] = {
        "rms_norm_eps": "norm_eps",
        "tie_word_embeddings": "tie_embedding",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"tie_word_embeddings": True}


class Config(LayerConfig, frozen=True, kw_only=True):
    """full_attn_idxs: without layer_types, the layers that attend. GGUF's sizes are adjusted."""

    full_attn_idxs: tuple[int, ...] | None = None
    block_auto_adjust_ff_dim: bool = False
    block_ffn_dim_multiplier: float | None = 1.0
    block_multiple_of: Size = 256

    hf_names: ClassVar[Mapping[str, str]] = {
        **LayerConfig.hf_names,
        "intermediate_size": "block_ff_dim",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "block_auto_adjust_ff_dim": True,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.block_auto_adjust_ff_dim:
            force_setattr(self, "intermediate_size", self._adjusted())

    def attends(self, layer: int) -> bool:
        if not self.layer_types and self.full_attn_idxs is not None:
            return layer in self.full_attn_idxs
        return super().attends(layer)

    def _adjusted(self) -> int:
        """Two thirds, times a factor, up to the next multiple."""
        size, multiple = int(2 * self.intermediate_size / 3), self.block_multiple_of
        if self.block_ffn_dim_multiplier is None:
            return size
        return -(-int(self.block_ffn_dim_multiplier * size) // multiple) * multiple


_LAYER = "model.layers.{i}"


def _name(gguf_name: str, hf: str) -> Name:
    return Name(f"blk.{{i}}.{gguf_name}", hf=f"{_LAYER}.{hf}")


LAYER_NAMES: Names = {
    "model.embed_tokens": "token_embd",
    f"{_LAYER}.input_layernorm": _name("attn_norm", "operator_norm"),
    f"{_LAYER}.self_attn.in_proj": _name("shortconv.in_proj", "conv.in_proj"),
    f"{_LAYER}.self_attn.conv": _name("shortconv.conv", "conv.conv"),
    f"{_LAYER}.self_attn.out_proj": _name("shortconv.out_proj", "conv.out_proj"),
    f"{_LAYER}.self_attn.q_proj": "blk.{i}.attn_q",
    f"{_LAYER}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{_LAYER}.self_attn.v_proj": "blk.{i}.attn_v",
    f"{_LAYER}.self_attn.o_proj": _name("attn_output", "self_attn.out_proj"),
    f"{_LAYER}.self_attn.q_norm": _name("attn_q_norm", "self_attn.q_layernorm"),
    f"{_LAYER}.self_attn.k_norm": _name("attn_k_norm", "self_attn.k_layernorm"),
    f"{_LAYER}.post_attention_layernorm": _name("ffn_norm", "ffn_norm"),
    "model.norm": Name("token_embd_norm", hf="model.embedding_norm"),
    "lm_head": "output",
}

DENSE_NAMES: Names = {
    f"{_LAYER}.mlp.gate_proj": _name("ffn_gate", "feed_forward.w1"),
    f"{_LAYER}.mlp.up_proj": _name("ffn_up", "feed_forward.w3"),
    f"{_LAYER}.mlp.down_proj": _name("ffn_down", "feed_forward.w2"),
}


def mixer(c: LayerConfig, layer: int, rope: Rope) -> Mixer:
    if c.attends(layer):
        return Attention(c, rope, qk_norm="head")
    return ShortConv(c.hidden_size, c.conv_L_cache, bias=c.conv_bias)


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    return CausalLM(c, lambda layer: DecoderLayer(c, mixer(c, layer, rope), GatedMLP(c)))


FAMILY = Family(
    "lfm2",
    ("Lfm2ForCausalLM",),
    ("lfm2",),
    ("lfm2",),
    Config,
    build,
    {**LAYER_NAMES, **DENSE_NAMES},
)
