"""RWKV-6, Finch: no attention but a state, whose decay by channel depends on the data.

Checked against the code that its checkpoints come with, which we never run, and llama.cpp
(src/models/rwkv6-base.cpp). GGUF files have what is added to the residual stream halved every few
layers, for float16's sake, and the stream to be halved along: we add it at full size instead.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr

from engine.models.family import Family
from engine.models.meta import Size, gguf
from engine.models.names import Fused, Names
from engine.models.rwkv import RwkvConfig, check_heads, names
from engine.nn.decoder import CausalLM
from engine.nn.norm import layer_norm
from engine.nn.rwkv import NormedEmbedding, RwkvLayer
from engine.nn.rwkv6 import MIXED, GatedChannelMix, TimeMix

Rank = Annotated[int, Meta(ge=0, le=2**16)]
LARGE = 4096
"""From this hidden size on the released models have ranks twice as large."""


class Config(RwkvConfig, frozen=True, kw_only=True):
    attention_hidden_size: Annotated[int, Meta(ge=0, le=2**20)] = 0
    head_size_divisor: Size = 8
    time_mix_extra_dim: Annotated[Rank, gguf("time_mix_extra_dim")] = 0
    time_decay_extra_dim: Annotated[Rank, gguf("time_decay_extra_dim")] = 0
    halved_every: Annotated[int, Meta(ge=0), gguf("rescale_every_n_layers")] = 0

    hf_names: ClassVar[Mapping[str, str]] = {
        "rms_norm_eps": "layer_norm_epsilon",
        "time_mix_extra_dim": "lora_rank_tokenshift",
        "time_decay_extra_dim": "lora_rank_decay",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        times = 2 if self.hidden_size >= LARGE else 1
        defaults = {
            "attention_hidden_size": self.hidden_size,
            "intermediate_size": int(3.5 * self.hidden_size // 32 * 32),
            "time_mix_extra_dim": 32 * times,
            "time_decay_extra_dim": 64 * times,
        }
        for key, default in defaults.items():
            force_setattr(self, key, getattr(self, key) or default)
        check_heads(self.attention_hidden_size, self.head_size)

    def growth(self, layer: int) -> float | None:
        """What a layer's output was divided by in the file."""
        return 2.0 ** (layer // self.halved_every) if self.halved_every else None


_ATTENTION: Mapping[str, tuple[str, str]] = {
    "x_x": ("time_mix_lerp_x.weight", "time_maa_x"),
    **{f"x_{name}": (f"time_mix_lerp_{name}.weight", f"time_maa_{name}") for name in MIXED},
    "mix_down": ("time_mix_w1.weight", "time_maa_w1"),
    "mix_up": ("time_mix_w2.weight", "time_maa_w2"),
    "bonus": ("time_mix_first.weight", "time_faaaa"),
    "decay.down": ("time_mix_decay_w1.weight", "time_decay_w1"),
    "decay.up": ("time_mix_decay_w2.weight", "time_decay_w2"),
    "decay.bias": ("time_mix_decay.weight", "time_decay"),
    "ln_x": ("time_mix_ln", "ln_x"),
    **{
        name: (f"time_mix_{name}", name)
        for name in ("receptance", "key", "value", "gate", "output")
    },
}

_FEED_FORWARD: Mapping[str, tuple[str, str]] = {
    "x_k": ("channel_mix_lerp_k.weight", "time_maa_k"),
    "x_r": ("channel_mix_lerp_r.weight", "time_maa_r"),
    **{name: (f"channel_mix_{name}", name) for name in ("receptance", "key", "value")},
}

NAMES: Names = names(
    {
        "model.embed_tokens": "rwkv.embeddings",
        "model.stream.norm": "rwkv.blocks.0.pre_ln",
        "model.norm": "rwkv.ln_out",
        "lm_head": "head",
    },
    "rwkv.blocks.{i}",
    {
        "attn_norm": ("attn_norm", "ln1"),
        "ffn_norm": ("attn_norm_2", "ln2"),
        **{f"attn.{ours}": (gg, f"attention.{hf}") for ours, (gg, hf) in _ATTENTION.items()},
        **{f"ffn.{ours}": (gg, f"feed_forward.{hf}") for ours, (gg, hf) in _FEED_FORWARD.items()},
    },
)

FUSED = Fused("time_mix_lerp_fused", tuple(f"time_mix_lerp_{name}" for name in MIXED))


def build(c: Config) -> CausalLM:
    def layer(index: int) -> RwkvLayer:
        return RwkvLayer(c, TimeMix(c), GatedChannelMix(c), residual_scale=c.growth(index))

    return CausalLM(c, layer, norm=layer_norm, stream=NormedEmbedding(c))


FAMILY = Family(
    "rwkv6",
    ("Rwkv6ForCausalLM",),
    ("rwkv6",),
    ("rwkv6",),
    Config,
    build,
    NAMES,
    fused=(FUSED,),
    transposed=("*.time_maa_w[12]", "*.time_decay_w[12]"),
)
