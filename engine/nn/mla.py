"""Multi-head latent attention, DeepSeek-V2's (arXiv:2405.04434), always in its absorbed form.

Keys and values of all heads are made from one latent per token, which is what is cached. Their
up-projections are not applied to it: that of keys goes into the query, that of values is applied
to what attention gives. So all heads attend to the latents themselves, as to one cache head.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.cache.latent import PagedLatent
from engine.cache.spec import Latent
from engine.kernels import ops
from engine.kernels.weight import Weight
from engine.nn.config import DecoderConfig
from engine.nn.linear import Linear
from engine.nn.module import Matrix, Module
from engine.nn.norm import RMSNorm
from engine.nn.rope import Rope
from engine.nn.rope_scaling import yarn_score_factor
from engine.nn.step import Step

_EPS = 1e-6
"""Of both inner norms, whatever the config's rms_norm_eps: the default of DeepSeek's norm class."""


class LatentConfig(DecoderConfig, Protocol):
    @property
    def q_lora_rank(self) -> int | None: ...
    @property
    def kv_lora_rank(self) -> int: ...
    @property
    def qk_nope_head_dim(self) -> int: ...
    @property
    def qk_rope_head_dim(self) -> int: ...
    @property
    def v_head_dim(self) -> int: ...
    @property
    def is_kv_b_split(self) -> bool: ...


class HeadWeight(Module):
    """One matrix per head, in one weight."""

    divides = True
    weight: Weight

    def __init__(self, matrix: Matrix) -> None:
        super().__init__(weight=matrix)


@dataclass(frozen=True, slots=True)
class HeadLinear:
    """Rows first..last of each head's in a `HeadWeight`, applied as `ops.head_linear` says."""

    stored: HeadWeight
    first: int
    last: int
    transposed: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        weight = self.stored.weight
        return ops.head_linear(x, weight, self.first, self.last, transposed=self.transposed)


class LatentAttention(Module):
    """q_lora_rank 0 or None: queries come straight from x. is_kv_b_split: as in `_up_projections`.

    rope: None leaves without positions what would be rotated.
    """

    def __init__(self, c: LatentConfig, rope: Rope | None) -> None:
        super().__init__()
        self._has_q_lora = bool(c.q_lora_rank)
        head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim
        query_size = c.num_attention_heads * head_dim
        if not c.q_lora_rank:
            self.q_proj = Linear(c.hidden_size, query_size)
        else:
            self.q_a_proj = Linear(c.hidden_size, c.q_lora_rank, bias=c.attention_bias)
            self.q_a_layernorm = RMSNorm(c.q_lora_rank, _EPS)
            self.q_b_proj = Linear(c.q_lora_rank, query_size)
        latent_dim = c.kv_lora_rank + c.qk_rope_head_dim
        self.kv_a_proj_with_mqa = Linear(c.hidden_size, latent_dim, bias=c.attention_bias)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank, _EPS)
        self._key_up, self._value_up = self._up_projections(c)
        value_size = c.num_attention_heads * c.v_head_dim
        self.o_proj = Linear(value_size, c.hidden_size, bias=c.attention_bias)
        self.rotary_emb = rope
        self.cache_spec: Latent = Latent(latent_dim)
        self._num_heads, self._rank, self._nope = (
            c.num_attention_heads,
            c.kv_lora_rank,
            c.qk_nope_head_dim,
        )
        self._scale, self._growth = head_dim**-0.5, (0.0, 1)
        if rope is not None:
            self._scale *= yarn_score_factor(c.rope_parameters["full_attention"])
            self._growth = rope.query_beta, rope.query_period

    def _up_projections(self, c: LatentConfig) -> tuple[HeadLinear, HeadLinear]:
        """Of keys, absorbed, and of values: each on its own, or both in one as they were trained.

        On its own, that of keys is stored transposed already.
        """
        heads, rank, nope, value = (
            c.num_attention_heads,
            c.kv_lora_rank,
            c.qk_nope_head_dim,
            c.v_head_dim,
        )
        if c.is_kv_b_split:
            self.k_b_proj = HeadWeight(Matrix(rank, nope, count=heads))
            self.v_b_proj = HeadWeight(Matrix(value, rank, count=heads))
            return HeadLinear(self.k_b_proj, 0, rank), HeadLinear(self.v_b_proj, 0, value)
        self.kv_b_proj = HeadWeight(Matrix(heads * (nope + value), rank))
        return (
            HeadLinear(self.kv_b_proj, 0, nope, transposed=True),
            HeadLinear(self.kv_b_proj, nope, nope + value),
        )

    def __call__(self, x: Tensor, step: Step, cache: PagedLatent) -> Tensor:
        cache.append(self._latent(x, step), step.layout)
        q = self._absorbed(self._query(x), step)
        attended = cache.attend(q, step.layout, self._scale, self._rank)
        return self.o_proj(ops.merge_heads(self._value_up(attended)))

    def _query(self, x: Tensor) -> Tensor:
        """(T, heads * (nope + rope)), not yet rotated."""
        if self._has_q_lora:
            return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        return self.q_proj(x)

    def _absorbed(self, query: Tensor, step: Step) -> Tensor:
        """What is compared with latents: (T, heads, latent_dim)."""
        q = ops.split_heads(query, self._num_heads)
        without = self._key_up(ops.select_columns(q, 0, self._nope))
        own = ops.select_columns(q, self._nope, q.shape[-1])
        q = ops.concat(without, self._turned(own, step))
        beta, period = self._growth
        return ops.scale_by_position(q, step.positions, beta, period) if beta else q

    def _latent(self, x: Tensor, step: Step) -> Tensor:
        """The normed latent and the one key, rotated, that all heads share: (T, latent_dim)."""
        joined = self.kv_a_proj_with_mqa(x)
        latent = self.kv_a_layernorm(ops.select_columns(joined, 0, self._rank))
        shared = ops.select_columns(joined, self._rank, joined.shape[-1])
        turned = self._turned(ops.split_heads(shared, 1), step)
        return ops.concat(latent, ops.merge_heads(turned))

    def _turned(self, x: Tensor, step: Step) -> Tensor:
        rope = self.rotary_emb
        return x if rope is None else ops.rope(x, step.rope_table(rope))
