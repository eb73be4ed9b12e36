"""RWKV-7 in the layout that it is trained in: blocks.N.att, low ranks stored as (in, out)."""

from collections.abc import Mapping
from typing import ClassVar

from engine.models import rwkv7
from engine.models.family import Family
from engine.models.names import Names
from engine.models.rwkv import names


class Config(rwkv7.Config, frozen=True, kw_only=True):
    hf_names: ClassVar[Mapping[str, str]] = {
        "rms_norm_eps": "layer_norm_epsilon",
        "decay_low_rank_dim": "lora_rank_decay",
        "a_low_rank_dim": "lora_rank_iclr",
        "v_low_rank_dim": "lora_rank_value_residual_mix",
        "gate_low_rank_dim": "lora_rank_gate",
    }


_LAYER: Mapping[str, str] = {
    "attn_norm": "ln1",
    **{f"attn.x_{name}": f"att.x_{name}" for name in "rwkvag"},
    **{f"attn.{name}": f"att.{name}" for name in ("k_k", "k_a", "r_k")},
    **{f"attn.{name}_lora.down": f"att.{name}1" for name in "wavg"},
    **{f"attn.{name}_lora.up": f"att.{name}2" for name in "wavg"},
    **{f"attn.{name}_lora.bias": f"att.{name}0" for name in "wav"},
    "attn.r_proj": "att.receptance",
    "attn.k_proj": "att.key",
    "attn.v_proj": "att.value",
    "attn.o_proj": "att.output",
    "attn.g_norm": "att.ln_x",
    "ffn_norm": "ln2",
    **{f"ffn.{name}": f"ffn.{name}" for name in ("x_k", "key", "value")},
}

NAMES: Names = names(
    {
        "model.embed_tokens": "emb",
        "model.stream.norm": "blocks.0.ln0",
        "model.norm": "ln_out",
        "lm_head": "head",
    },
    "blocks.{i}",
    {path: (rwkv7.GGUF_LAYER[path], hf) for path, hf in _LAYER.items()},
)

FAMILY = Family(
    "rwkv7_blocks",
    ("Rwkv7ForCausalLM",),
    (),
    (),
    Config,
    rwkv7.build,
    NAMES,
    unused=("blocks.0.att.v[012]",),
    transposed=("*.att.[wavg][12]",),
)
