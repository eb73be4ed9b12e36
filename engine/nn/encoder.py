"""Encoders: every token of a text sees all of it, nothing is cached, and one vector comes out."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from engine.cache.views import CacheView
from engine.kernels import ops
from engine.kernels.batch import BatchLayout, ForwardBatch
from engine.kernels.ops.encoding import RowPooling
from engine.nn.config import DecoderConfig
from engine.nn.linear import Embedding, Linear
from engine.nn.mlp import MLP
from engine.nn.model import Model, Traits
from engine.nn.module import Module
from engine.nn.norm import layer_norm

UNIT_EPS = 1e-24
"""Beside a vector's squared length, so that one of zeros stays one; torch's `normalize` has its root."""


class EncoderConfig(DecoderConfig, Protocol):
    """What the blocks of BERT and its kin ask of a family."""

    @property
    def type_vocab_size(self) -> int: ...
    @property
    def position_offset(self) -> int: ...


class TextEmbeddings(Module):
    """The sum of a token's, its position's and its text's embedding, normed."""

    def __init__(self, c: EncoderConfig) -> None:
        super().__init__()
        num_positions = c.max_position_embeddings + c.position_offset
        self.word_embeddings = Embedding(c.vocab_size, c.hidden_size)
        self.position_embeddings = Embedding(num_positions, c.hidden_size)
        self.token_type_embeddings = Embedding(c.type_vocab_size, c.hidden_size)
        self.norm = layer_norm(c)

    def __call__(self, batch: ForwardBatch) -> Tensor:
        assert batch.segments is not None, "an encoder's batch has segments"
        x = self.word_embeddings(batch.token_ids)
        x = ops.add(x, self.position_embeddings(batch.positions))
        return self.norm(ops.add(x, self.token_type_embeddings(batch.segments)))


class EncoderAttention(Module):
    """Attention of all heads to the whole text."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        size = c.num_attention_heads * c.head_dim
        self.q_proj = Linear(c.hidden_size, size, bias=c.attention_bias)
        self.k_proj = Linear(c.hidden_size, size, bias=c.attention_bias)
        self.v_proj = Linear(c.hidden_size, size, bias=c.attention_bias)
        self.o_proj = Linear(size, c.hidden_size, bias=c.attention_bias)
        self._num_heads, self._scale = c.num_attention_heads, c.head_dim**-0.5

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        projected = (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        q, k, v = (ops.split_heads(each, self._num_heads) for each in projected)
        return self.o_proj(
            ops.merge_heads(ops.encoder_attention(q, k, v, layout, scale=self._scale))
        )


class EncoderLayer(Module):
    """BERT's: the norm is of the sum of a part and what it read."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.self_attn = EncoderAttention(c)
        self.attention_norm = layer_norm(c)
        self.mlp = MLP(c, ops.gelu)
        self.output_norm = layer_norm(c)

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        x = self.attention_norm(ops.add(x, self.self_attn(x, layout)))
        return self.output_norm(ops.add(x, self.mlp(x)))


class Pooler(Module):
    """A text's vector. is_unit: of length 1."""

    def __init__(self, pooling: RowPooling, *, is_unit: bool) -> None:
        super().__init__()
        self._pooling, self._is_unit = pooling, is_unit

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        pooled = ops.pool_rows(x, layout, pooling=self._pooling)
        return ops.l2_norm(pooled, UNIT_EPS) if self._is_unit else pooled


class ScoreHead(Module):
    """One number for a pair of texts, of its first token: the higher, the better they match."""

    def __init__(self, c: DecoderConfig) -> None:
        super().__init__()
        self.dense = Linear(c.hidden_size, c.hidden_size, bias=True)
        self.out_proj = Linear(c.hidden_size, 1, bias=True)

    def __call__(self, x: Tensor, layout: BatchLayout) -> Tensor:
        first = ops.pool_rows(x, layout, pooling="first")
        return ops.widen(self.out_proj(ops.tanh(self.dense(first))))


class Encoder(Model):
    """Embeddings, layers, and what makes one row of a text's: a `Pooler` or a `ScoreHead`."""

    def __init__(self, c: EncoderConfig, head: Pooler | ScoreHead) -> None:
        super().__init__()
        is_ranking = isinstance(head, ScoreHead)
        self.traits = Traits(
            task="rerank" if is_ranking else "embedding",
            max_whole_tokens=c.max_position_embeddings,
            position_offset=c.position_offset,
            num_segments=c.type_vocab_size,
        )
        self.vocab_size, self.context_length = c.vocab_size, c.max_position_embeddings
        self.result_size = 1 if is_ranking else c.hidden_size
        self.embeddings = TextEmbeddings(c)
        self.layers = [EncoderLayer(c) for _ in range(c.num_hidden_layers)]
        self.head = head

    @property
    def cache_specs(self) -> tuple[()]:
        """Nothing is kept."""
        return ()

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:  # noqa: ARG002
        """A row of each sequence, (B, result_size), float32; each has one of the batch's logit_rows."""
        x = self.embeddings(batch)
        for layer in self.layers:
            x = layer(x, batch.layout)
        return self.head(x, batch.layout)
