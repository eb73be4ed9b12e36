"""Latent attention to few tokens, which an indexer picks: DeepSeek Sparse Attention."""

from typing import Protocol

from torch import Tensor

from engine.cache.latent import PagedIndexedLatent
from engine.cache.spec import IndexedLatent
from engine.kernels import ops
from engine.nn.linear import Linear
from engine.nn.mla import LatentAttention, LatentConfig
from engine.nn.module import Module
from engine.nn.norm import LayerNorm
from engine.nn.rope import Rope
from engine.nn.step import Step

_EPS = 1e-6


class SparseConfig(LatentConfig, Protocol):
    @property
    def index_n_heads(self) -> int: ...
    @property
    def index_head_dim(self) -> int: ...
    @property
    def index_topk(self) -> int: ...


class Indexer(Module):
    """Queries of many small heads, a weight for each, and the one key that they all judge.

    The original turns both by a Hadamard matrix ahead of eight-bit scores: products stay the same.
    Its scale of scores is left out, too: it changes no order.
    """

    def __init__(self, c: SparseConfig, query_size: int) -> None:
        super().__init__()
        self.wq_b = Linear(query_size, c.index_n_heads * c.index_head_dim)
        self.wk = Linear(c.hidden_size, c.index_head_dim)
        self.k_norm = LayerNorm(c.index_head_dim, _EPS)
        self.weights_proj = Linear(c.hidden_size, c.index_n_heads)
        self._num_heads = c.index_n_heads

    def key(self, x: Tensor, table: Tensor) -> Tensor:
        """(T, index_head_dim). Here the rotated part is the first."""
        key = ops.split_heads(self.k_norm(self.wk(x)), 1)
        return ops.merge_heads(ops.rope(key, table))

    def query(self, residual: Tensor, table: Tensor) -> Tensor:
        """Of the attention's low-rank query: (T, index_n_heads, index_head_dim)."""
        return ops.rope(ops.split_heads(self.wq_b(residual), self._num_heads), table)


class SparseLatentAttention(LatentAttention):
    """Up to index_topk tokens it is `LatentAttention`. Its queries are always of low rank."""

    def __init__(self, c: SparseConfig, rope: Rope) -> None:
        super().__init__(c, rope)
        assert c.q_lora_rank
        self.indexer = Indexer(c, c.q_lora_rank)
        self.cache_spec = IndexedLatent(self.cache_spec.dim, c.index_head_dim)
        self._top_k = c.index_topk

    def __call__(self, x: Tensor, step: Step, cache: PagedIndexedLatent) -> Tensor:  # type: ignore[override]  # as its cache_spec says
        rope, layout = self.rotary_emb, step.layout
        assert rope is not None
        table = step.rope_table(rope)
        residual = self.q_a_layernorm(self.q_a_proj(x))
        cache.append(self._latent(x, step), self.indexer.key(x, table), layout)
        index_q, weights = self.indexer.query(residual, table), self.indexer.weights_proj(x)
        chosen = cache.choose(index_q, weights, layout, self._top_k)
        q = self._absorbed(self.q_b_proj(residual), step)
        attended = cache.attend(q, layout, self._scale, self._rank, chosen)
        return self.o_proj(ops.merge_heads(self._value_up(attended)))
