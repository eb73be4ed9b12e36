"""Phi-3, 3.5, 4 and 4-mini: Llama with fused matrices, and frequencies for short and long sequences.

Checked against transformers 5.23 (models/phi3) and llama.cpp (src/models/phi3.cpp). llama.cpp reads
no sliding window and takes long frequencies by the size of its context; we follow transformers.
"""

from typing import Annotated

from msgspec.structs import force_setattr, replace

from engine.models.family import Family
from engine.models.llama import NAMES as LLAMA_NAMES
from engine.models.llama import Config as LlamaConfig
from engine.models.meta import gguf, gguf_has
from engine.models.names import Fused, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer
from engine.nn.mlp import GatedMLP
from engine.nn.rope import rope_of
from engine.nn.rope_scaling import rotary_dim_of


class Config(LlamaConfig, frozen=True, kw_only=True):
    """GGUF has longrope's divisors as tensors alone; loading divides by them."""

    sliding_window: Annotated[int | None, gguf("attention.sliding_window")] = None
    original_max_position_embeddings: int | None = None
    rope_attention_factor: Annotated[float | None, gguf("rope.scaling.attn_factor")] = None
    has_rope_factors: Annotated[bool, gguf_has("rope_factors_long.weight")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_rope_factors:
            rope = self.rope_parameters["full_attention"]
            ones = (1.0,) * (rotary_dim_of(rope, self.head_dim) // 2)
            rope = replace(
                rope,
                rope_type="longrope",
                short_factor=ones,
                long_factor=ones,
                attention_factor=self.rope_attention_factor,
            )
            force_setattr(self, "rope_parameters", {"full_attention": rope})


ROTARY = "model.layers.{i}.self_attn.rotary_emb"

NAMES: Names = {
    **LLAMA_NAMES,
    "model.layers.{i}.self_attn.q_proj": "blk.{i}.attn_q",
    "model.layers.{i}.self_attn.k_proj": "blk.{i}.attn_k",
    f"{ROTARY}.inv_freq": "rope_factors_short.weight",
    f"{ROTARY}.long_inv_freq": "rope_factors_long.weight",
}

FUSED = (
    Fused("self_attn.qkv_proj", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    Fused("mlp.gate_up_proj", ("mlp.gate_proj", "mlp.up_proj")),
    Fused("ffn_up", ("ffn_gate", "ffn_up")),
)


def build(c: Config) -> CausalLM:
    rope, window = rope_of(c), c.sliding_window or None

    def layer(_: int) -> DecoderLayer:
        return DecoderLayer(c, Attention(c, rope, window=window), GatedMLP(c))

    return CausalLM(c, layer, length_switch=rope.length_switch)


FAMILY = Family(
    "phi3",
    ("Phi3ForCausalLM",),
    ("phi3",),
    ("phi3",),
    Config,
    build,
    NAMES,
    fused=FUSED,
)
