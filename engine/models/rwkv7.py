"""RWKV-7, Goose: no attention but a state, from which keys also take what stood under them.

Checked against flash-linear-attention (fla/models/rwkv7), whose layout published checkpoints have,
and llama.cpp (src/models/rwkv7-base.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.family import Family
from engine.models.meta import gguf
from engine.models.names import Fused, Names
from engine.models.rwkv import RwkvConfig, check_heads, names
from engine.nn.decoder import CausalLM
from engine.nn.norm import layer_norm
from engine.nn.rwkv import ChannelMix, NormedEmbedding, RwkvLayer
from engine.nn.rwkv7 import TimeMix

Rank = Annotated[int, Meta(ge=-1, le=2**16)]
"""-1: what the released models have for the hidden size."""


class Config(RwkvConfig, frozen=True, kw_only=True):
    """gate_low_rank_dim: 0 for no gate. attn: layers of another kind, which we do not do."""

    hidden_ratio: Annotated[float, Meta(gt=0, le=64)] = 4.0
    decay_low_rank_dim: Annotated[Rank, gguf("attention.decay_lora_rank")] = -1
    a_low_rank_dim: Annotated[Rank, gguf("attention.iclr_lora_rank")] = -1
    v_low_rank_dim: Annotated[Rank, gguf("attention.value_residual_mix_lora_rank")] = -1
    gate_low_rank_dim: Annotated[Rank, gguf("attention.gate_lora_rank")] = -1
    hidden_act: Literal["sqrelu"] = "sqrelu"
    norm_first: bool = True
    norm_bias: Literal[True] = True
    value_dim: int | list[int] = 0
    attn: None = None

    hf_names: ClassVar[Mapping[str, str]] = {"rms_norm_eps": "norm_eps", "head_size": "head_dim"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.intermediate_size:
            rounded = -int(-self.hidden_ratio * self.hidden_size // 32) * 32
            force_setattr(self, "intermediate_size", rounded)
        for key, factor, power in _RANKS:
            if getattr(self, key) < 0:
                rank = max(1, round(factor * self.hidden_size**power / 32)) * 32
                force_setattr(self, key, rank)
        check_heads(self.hidden_size, self.head_size)
        values = self.value_dim if isinstance(self.value_dim, list) else [self.value_dim]
        if any(size not in (0, self.hidden_size) for size in values):
            raise ValueError(f"value_dim {values[0]} beside hidden_size {self.hidden_size}")


_RANKS = (
    ("decay_low_rank_dim", 1.8, 0.5),
    ("a_low_rank_dim", 1.8, 0.5),
    ("v_low_rank_dim", 1.3, 0.5),
    ("gate_low_rank_dim", 0.6, 0.8),
)


GGUF_LAYER: Mapping[str, str] = {
    "attn_norm": "attn_norm",
    **{f"attn.x_{name}": f"time_mix_lerp_{name}.weight" for name in "rwkvag"},
    **{f"attn.{name}": f"time_mix_{name}.weight" for name in ("k_k", "k_a", "r_k")},
    **{f"attn.{name}_lora.down": f"time_mix_{name}1.weight" for name in "wavg"},
    **{f"attn.{name}_lora.up": f"time_mix_{name}2.weight" for name in "wavg"},
    **{f"attn.{name}_lora.bias": f"time_mix_{name}0.weight" for name in "wav"},
    "attn.r_proj": "time_mix_receptance",
    "attn.k_proj": "time_mix_key",
    "attn.v_proj": "time_mix_value",
    "attn.o_proj": "time_mix_output",
    "attn.g_norm": "time_mix_ln",
    "ffn_norm": "attn_norm_2",
    "ffn.x_k": "channel_mix_lerp_k.weight",
    "ffn.key": "channel_mix_key",
    "ffn.value": "channel_mix_value",
}
"""By path in our layers, which is that of flash-linear-attention but for what goes through ranks."""

_LOW_RANK = {"down": "lora.0.weight", "up": "lora.2.weight", "bias": "lora.2.bias"}


def _published(path: str) -> str:
    module, _, kind = path.rpartition(".")
    return f"{module}.{_LOW_RANK[kind]}" if kind in _LOW_RANK else path


NAMES: Names = names(
    {
        "model.embed_tokens": "model.embeddings",
        "model.stream.norm": "model.layers.0.pre_norm",
        "model.norm": "model.norm",
        "lm_head": "lm_head",
    },
    "model.layers.{i}",
    {path: (gguf_name, _published(path)) for path, gguf_name in GGUF_LAYER.items()},
)

# With a gate, and without.
FUSED = tuple(
    Fused("time_mix_lerp_fused", tuple(f"time_mix_lerp_{name}" for name in mixed))
    for mixed in ("rwkvag", "rwkva")
)


def build(c: Config) -> CausalLM:
    first = TimeMix(c, None)

    def layer(index: int) -> RwkvLayer:
        return RwkvLayer(c, TimeMix(c, first) if index else first, ChannelMix(c))

    return CausalLM(c, layer, norm=layer_norm, stream=NormedEmbedding(c) if c.norm_first else None)


FAMILY = Family(
    "rwkv7",
    ("RWKV7ForCausalLM",),
    ("rwkv7",),
    ("rwkv7",),
    Config,
    build,
    NAMES,
    unused=("blk.0.time_mix_v[012].weight",),  # the first layer has no values to mix with
    fused=FUSED,
)
