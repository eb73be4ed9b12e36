"""Falcon 7B, 11B, 40B and 180B: attention and MLP side by side, q, k and v in one matrix.

And Falcon-RW, whose layers are Llama's with alibi for rope. Checked against transformers 5.23
(models/falcon) and llama.cpp (src/models/falcon.cpp), which knows no RW. GELU is exact, as in
transformers.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from msgspec import Meta
from msgspec.structs import force_setattr
from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.kernels import ops
from engine.models.family import Family
from engine.models.layer_normed import LayerNormConfig
from engine.models.meta import Size, gguf, gguf_has
from engine.models.names import Fused, Name, Names
from engine.nn.attention import Attention
from engine.nn.decoder import CausalLM
from engine.nn.layer import DecoderLayer, FeedForward, Layer, Mixer, ParallelLayer
from engine.nn.mlp import MLP
from engine.nn.module import Module, Table
from engine.nn.norm import layer_norm
from engine.nn.rope import rope_of
from engine.nn.step import Step


class Config(LayerNormConfig, frozen=True, kw_only=True):
    """multi_query counts for old models alone; what num_kv_heads says beside it is then wrong."""

    intermediate_size: Annotated[int, Meta(ge=0), gguf("feed_forward_length")] = 0
    max_position_embeddings: Annotated[Size, gguf("context_length")] = 2048
    activation: Literal["gelu"] = "gelu"
    new_decoder_architecture: Annotated[bool, gguf_has("blk.0.attn_norm_2.weight")] = False
    multi_query: bool = False
    alibi: bool = False
    parallel_attn: bool = True
    num_ln_in_parallel_attn: Literal[1, 2] | None = None

    hf_names: ClassVar[Mapping[str, str]] = {
        "attention_bias": "bias",
        "mlp_bias": "bias",
        "intermediate_size": "ffn_hidden_size",
        "num_key_value_heads": "num_kv_heads",
        "rms_norm_eps": "layer_norm_epsilon",
    }
    hf_defaults: ClassVar[Mapping[str, Any]] = {"multi_query": True, "tie_word_embeddings": True}

    def __post_init__(self) -> None:
        if self.multi_query and not self.new_decoder_architecture:
            force_setattr(self, "num_key_value_heads", 1)
        if not self.intermediate_size:
            force_setattr(self, "intermediate_size", 4 * self.hidden_size)
        super().__post_init__()


class AlibiAttention(Attention):
    """Scores fall with distance, for each head by a slope of its own, in place of rope.

    transformers rounds every product of slope and position to bfloat16, too; we do not.
    """

    slopes: Tensor

    def __init__(self, c: Config) -> None:
        super().__init__(c, None)
        slopes = torch.tensor(alibi_slopes(c.num_attention_heads)).bfloat16()  # as it was trained
        # Slopes are of scores before those are scaled.
        self.slots["slopes"] = Table(tuple(slope * c.head_dim**-0.5 for slope in slopes.tolist()))

    def __call__(self, x: Tensor, step: Step, cache: PagedKV) -> Tensor:
        q, k, v = self.project(x)
        cache.append(k, v, step.layout)
        attended = cache.attend(q, step.layout, self._scale, alibi=self.slopes)
        return self.o_proj(ops.merge_heads(attended))


def alibi_slopes(num_heads: int) -> list[float]:
    """Of arXiv:2108.12409: powers of 2^(-8/n), and every other one of the next finer series."""
    whole = 2 ** int(math.log2(num_heads))
    coarse = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    fine = [2 ** (-4 * (head + 1) / whole) for head in range(0, 2 * whole, 2)]
    return [*coarse, *fine][:num_heads]


class TwoNormLayer(Module):
    """Both parts read the residual stream, each through its own norm."""

    def __init__(self, c: Config, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.ln_attn = layer_norm(c)
        self.self_attn = self_attn
        self.ln_mlp = layer_norm(c)
        self.mlp = mlp

    @property
    def cache_spec(self) -> CacheSpec:
        return self.self_attn.cache_spec

    def __call__(self, x: Tensor, step: Step, cache: CacheView) -> Tensor:
        attended = self.self_attn(self.ln_attn(x), step, cache)
        return ops.add(ops.add(x, attended), self.mlp(self.ln_mlp(x)))


def _name(gguf_name: str, hf: str) -> Name:
    return Name(f"blk.{{i}}.{gguf_name}", hf=f"transformer.h.{{i}}.{hf}")


NAMES: Names = {
    "model.embed_tokens": Name("token_embd", hf="transformer.word_embeddings"),
    "model.layers.{i}.input_layernorm": _name("attn_norm", "input_layernorm"),
    "model.layers.{i}.post_attention_layernorm": _name("ffn_norm", "post_attention_layernorm"),
    "model.layers.{i}.ln_attn": _name("attn_norm_2", "ln_attn"),
    "model.layers.{i}.ln_mlp": _name("attn_norm", "ln_mlp"),
    "model.layers.{i}.self_attn.q_proj": _name("attn_q", "self_attention.q_proj"),
    "model.layers.{i}.self_attn.k_proj": _name("attn_k", "self_attention.k_proj"),
    "model.layers.{i}.self_attn.v_proj": _name("attn_v", "self_attention.v_proj"),
    "model.layers.{i}.self_attn.o_proj": _name("attn_output", "self_attention.dense"),
    "model.layers.{i}.self_attn.rotary_emb.inv_freq": "rope_freqs.weight",
    "model.layers.{i}.mlp.up_proj": _name("ffn_up", "mlp.dense_h_to_4h"),
    "model.layers.{i}.mlp.down_proj": _name("ffn_down", "mlp.dense_4h_to_h"),
    "model.norm": Name("output_norm", hf="transformer.ln_f"),
    "lm_head": "output",
}

# For each head of keys in turn: the heads of queries that read it, its own, and that of values.
FUSED = Fused(
    "self_attention.query_key_value",
    ("self_attention.q_proj", "self_attention.k_proj", "self_attention.v_proj"),
    "num_key_value_heads",
)


def build(c: Config) -> CausalLM:
    rope = rope_of(c)
    has_two_norms = c.new_decoder_architecture and c.num_ln_in_parallel_attn != 1

    def layer(_: int) -> Layer:
        attention = AlibiAttention(c) if c.alibi else Attention(c, rope)
        mlp = MLP(c, ops.gelu)
        if not c.parallel_attn:
            return DecoderLayer(c, attention, mlp, norm=layer_norm)
        if has_two_norms:
            return TwoNormLayer(c, attention, mlp)
        return ParallelLayer(c, attention, mlp, norm=layer_norm)

    return CausalLM(c, layer, norm=layer_norm)


FAMILY = Family(
    "falcon",
    ("FalconForCausalLM",),
    ("falcon",),
    ("falcon",),
    Config,
    build,
    NAMES,
    fused=(FUSED,),
)
