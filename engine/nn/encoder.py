"""Encoders: every token of a text sees what is behind it too, nothing is cached, one row comes out."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from engine.cache.views import CacheView
from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.config import BaseConfig, DecoderConfig
from engine.nn.layer import FeedForward, MakeNorm, Mixer
from engine.nn.linear import Embedding
from engine.nn.model import Model, Traits
from engine.nn.module import Module
from engine.nn.norm import layer_norm
from engine.nn.step import Step
from engine.nn.text_heads import ScoreHead, TextHead


class EncoderConfig(DecoderConfig, Protocol):
    """What the blocks of BERT and its kin ask of a family."""

    @property
    def type_vocab_size(self) -> int: ...
    @property
    def position_offset(self) -> int: ...


class TextEmbeddings(Module):
    """The sum of a token's, its position's and its text's embedding, normed.

    has_positions: false where attention has them.
    """

    def __init__(self, c: EncoderConfig, *, has_positions: bool = True) -> None:
        super().__init__()
        num_positions = c.max_position_embeddings + c.position_offset
        self.word_embeddings = Embedding(c.vocab_size, c.hidden_size)
        self.position_embeddings = (
            Embedding(num_positions, c.hidden_size) if has_positions else None
        )
        self.token_type_embeddings = Embedding(c.type_vocab_size, c.hidden_size)
        self.norm = layer_norm(c)

    def __call__(self, batch: ForwardBatch) -> Tensor:
        assert batch.segments is not None, "an encoder's batch has segments"
        x = self.word_embeddings(batch.token_ids)
        if self.position_embeddings is not None:
            x = ops.add(x, self.position_embeddings(batch.positions))
        return self.norm(ops.add(x, self.token_type_embeddings(batch.segments)))


class TokenEmbeddings(Module):
    """A token's embedding alone: normed, or multiplied by `factor`."""

    def __init__(
        self, c: BaseConfig, *, norm: MakeNorm | None = None, factor: float | None = None
    ) -> None:
        super().__init__()
        self.word_embeddings = Embedding(c.vocab_size, c.hidden_size)
        self.norm = norm(c) if norm else None
        self._factor = factor

    def __call__(self, batch: ForwardBatch) -> Tensor:
        x = self.word_embeddings(batch.token_ids)
        if self._factor is not None:
            x = ops.scale(x, self._factor)
        return self.norm(x) if self.norm else x


class EncoderLayer(Module):
    """BERT's: the norm is of the sum of a part and what it read."""

    def __init__(self, c: BaseConfig, self_attn: Mixer, mlp: FeedForward) -> None:
        super().__init__()
        self.self_attn = self_attn
        self.attention_norm = layer_norm(c)
        self.mlp = mlp
        self.output_norm = layer_norm(c)

    def __call__(self, x: Tensor, step: Step, cache: None) -> Tensor:
        x = self.attention_norm(ops.add(x, self.self_attn(x, step, cache)))
        return self.output_norm(ops.add(x, self.mlp(x)))


class Encoder(Model):
    """Embeddings, layers, perhaps a norm, and what makes one row of a text's.

    layer: makes the layer of an index; it is called with no cache. position_offset: position of a
    text's first token. num_segments: how many texts its embeddings tell apart.
    """

    def __init__(
        self,
        c: BaseConfig,
        embeddings: TextEmbeddings | TokenEmbeddings,
        layer: Callable[[int], Any],
        head: TextHead,
        *,
        norm: MakeNorm | None = None,
        position_offset: int = 0,
        num_segments: int = 1,
    ) -> None:
        super().__init__()
        self.traits = Traits(
            task="rerank" if isinstance(head, ScoreHead) else "embedding",
            max_whole_tokens=c.max_position_embeddings,
            position_offset=position_offset,
            num_segments=num_segments,
        )
        self.vocab_size, self.context_length = c.vocab_size, c.max_position_embeddings
        self.result_size = head.result_size
        self.embeddings = embeddings
        self.layers = [layer(index) for index in range(c.num_hidden_layers)]
        self.norm = norm(c) if norm else None
        self.head = head

    @property
    def cache_specs(self) -> tuple[()]:
        """Nothing is kept."""
        return ()

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:  # noqa: ARG002
        """A row of each sequence, (B, result_size), float32; each has one of the batch's logit_rows."""
        step = Step(batch)
        x = self.embeddings(batch)
        for layer in self.layers:
            x = layer(x, step, None)
        return self.head(self.norm(x) if self.norm else x, batch.layout)
