"""ERNIE 4.5 dense: Llama whose rope is interleaved in both formats.

Checked against transformers 5.23 (models/ernie4_5) and llama.cpp (src/models/ernie4-5.cpp).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec.structs import force_setattr

from engine.models import llama
from engine.models.family import Family
from engine.models.meta import gguf_has
from engine.models.names import Names, interleaved


class Config(llama.Config, frozen=True, kw_only=True):
    """use_bias is of every projection."""

    use_bias: Annotated[bool, gguf_has("blk.0.attn_q.bias")] = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 5e5}
    hf_defaults: ClassVar[Mapping[str, Any]] = {"head_dim": 128, "tie_word_embeddings": True}

    def __post_init__(self) -> None:
        for field in ("attention_bias", "attention_out_bias", "mlp_bias"):
            force_setattr(self, field, self.use_bias)
        super().__post_init__()


NAMES: Names = {
    **llama.NAMES,
    "model.layers.{i}.self_attn.q_proj": interleaved("blk.{i}.attn_q", "num_attention_heads"),
    "model.layers.{i}.self_attn.k_proj": interleaved("blk.{i}.attn_k", "num_key_value_heads"),
}

FAMILY = Family(
    "ernie4_5",
    ("Ernie4_5ForCausalLM",),
    ("ernie4_5",),
    ("ernie4_5",),
    Config,
    llama.build,
    NAMES,
)
