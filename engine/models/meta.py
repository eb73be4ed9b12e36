"""Configs by declaration: one struct per family, read from either format.

A field is named as its key in Hugging Face's config.json; a tag on its type says where GGUF has it:

    hidden_size: Annotated[int, gguf("embedding_length")]
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from engine.models.pooling import Pooling
from engine.nn.rope_scaling import RopeParameters, rotary_dim_of


@dataclass(frozen=True, slots=True)
class GGUFKey:
    """The field is at this key of the architecture: "llama." + key."""

    key: str


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """GGUF has no key for the field: it is `present` when there is such a tensor.

    name: a pattern, too, as `fnmatch` has them.
    """

    name: str
    present: bool


@dataclass(frozen=True, slots=True)
class GGUFLayers:
    """GGUF has no key for the field: it is the layers that have such a tensor, blk.N.`name`."""

    name: str

    @property
    def pattern(self) -> str:
        return rf"blk\.(\d{{1,4}})\.{re.escape(self.name)}"


def gguf(key: str) -> GGUFKey:
    return GGUFKey(key)


def gguf_has(tensor: str) -> GGUFTensor:
    return GGUFTensor(tensor, present=True)


def gguf_lacks(tensor: str) -> GGUFTensor:
    return GGUFTensor(tensor, present=False)


Size = Annotated[int, Meta(ge=1, le=2**20)]
Eps = Annotated[float, Meta(gt=0, lt=1)]
TokenId = Annotated[int, Meta(ge=0, lt=2**24)]


class BaseConfig(Struct, frozen=True, kw_only=True):
    """What every decoder declares. Bad values raise ValueError when it is made.

    num_nextn_predict_layers: layers after the last that predict tokens further on. Files may hold
    them, we do without. pooling: how the file says a text's vector is made; None where it generates.
    normalizes: vectors have length 1. dense_sizes: widths that matrices bring them to before that.
    score_labels: of a classifier, how many it tells apart. rank_token_ids: tokens whose logits say
    that a pair of texts matches, and that it does not.
    """

    vocab_size: Annotated[int, Meta(ge=1, le=2**24), gguf("vocab_size")]
    hidden_size: Annotated[Size, gguf("embedding_length")]
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1024), gguf("block_count")]
    num_nextn_predict_layers: Annotated[int, Meta(ge=0, le=1024), gguf("nextn_predict_layers")] = 0
    max_position_embeddings: Annotated[int, Meta(ge=1, le=2**31), gguf("context_length")]
    rms_norm_eps: Annotated[Eps, gguf("attention.layer_norm_rms_epsilon")]
    rope_parameters: dict[str, RopeParameters] = {}
    tie_word_embeddings: Annotated[bool, gguf_lacks("output.weight")] = False
    pooling: Annotated[Pooling | None, gguf("pooling_type")] = None
    normalizes: bool = True
    dense_sizes: Annotated[tuple[Size, ...], Meta(max_length=2)] = ()
    score_labels: Annotated[int, Meta(ge=0)] = 0
    rank_token_ids: Annotated[tuple[TokenId, ...], Meta(max_length=2)] = ()
    is_matryoshka: bool = False
    matryoshka_dimensions: tuple[int, ...] = ()

    rope_thetas: ClassVar[Mapping[str, float | None]] = {}
    """The layer types that have a rope, and its base where a file names none.

    None stands for the base of the full layers.
    """

    hf_names: ClassVar[Mapping[str, str]] = {}
    """Fields that config.json has under another key."""

    hf_defaults: ClassVar[Mapping[str, Any]] = {}
    """What Hugging Face's config class assumes and sparse config files rely on."""


class Config(BaseConfig, frozen=True, kw_only=True):
    """What every decoder declares that attends.

    rope_parameters: by layer type; without layer types of its own a model has "full_attention".
    """

    intermediate_size: Annotated[Size, gguf("feed_forward_length")]
    num_attention_heads: Annotated[int, Meta(ge=1, le=4096), gguf("attention.head_count")]
    num_key_value_heads: Annotated[int, Meta(ge=0), gguf("attention.head_count_kv")] = 0
    head_dim: Annotated[int, Meta(ge=0, le=8192), gguf("attention.key_length")] = 0
    rope_parameters: dict[str, RopeParameters]
    attention_bias: Annotated[bool, gguf_has("blk.0.attn_q[.k]*bias")] = False
    attention_out_bias: Annotated[bool | None, gguf_has("blk.0.attn_output.bias")] = None
    mlp_bias: Annotated[bool, gguf_has("blk.0.ffn_up.bias")] = False

    rope_thetas: ClassVar[Mapping[str, float | None]] = {"full_attention": 10000.0}

    def __post_init__(self) -> None:
        if not self.num_key_value_heads:
            force_setattr(self, "num_key_value_heads", self.num_attention_heads)
        if self.attention_out_bias is None:
            force_setattr(self, "attention_out_bias", self.attention_bias)
        if self.num_attention_heads % self.num_key_value_heads:
            heads = f"{self.num_attention_heads} heads, {self.num_key_value_heads} of keys"
            raise ValueError(f"{heads}: not a multiple")
        if not self.head_dim:
            if self.hidden_size % self.num_attention_heads:
                sizes = f"hidden_size {self.hidden_size}, {self.num_attention_heads} heads"
                raise ValueError(f"{sizes}: not a multiple, and no head_dim")
            force_setattr(self, "head_dim", self.hidden_size // self.num_attention_heads)
        for rope in self.rope_parameters.values():
            rotary_dim_of(rope, self.head_dim)  # raises for what cannot be turned

    @property
    def rotary_dim(self) -> int:
        """How many values of a head the rope of full layers turns."""
        return rotary_dim_of(self.rope_parameters["full_attention"], self.head_dim)
