from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.config import BaseConfig
from engine.nn.layer import Layer, MakeNorm, rms_norm
from engine.nn.linear import Embedding, Head, TiedHead
from engine.nn.model import Model
from engine.nn.module import Module
from engine.nn.step import Step


class Stream(Protocol):
    """Makes of embeddings what the layers pass on, and of that one hidden state again."""

    def enter(self, x: Tensor, step: Step) -> Tensor: ...
    def leave(self, x: Tensor) -> Tensor: ...


class Decoder(Module):
    """Embedding, layers, and the norm after the last.

    The residual stream between them is float32 whatever the weights' dtype: rounding it after
    each layer is what costs bfloat16 models their margin. cache_owners: for each layer, the layer
    whose cache it reads; each its own by default.
    """

    def __init__(
        self,
        c: BaseConfig,
        layer: Callable[[int], Layer],
        *,
        embed_scale: float | None,
        norm: MakeNorm,
        stream: Stream | None,
        cache_owners: Sequence[int] | None,
    ) -> None:
        super().__init__()
        self.hidden_size = c.hidden_size
        self.embed_tokens = Embedding(c.vocab_size, c.hidden_size)
        self.stream = stream
        self.layers = [layer(index) for index in range(c.num_hidden_layers)]
        self.norm = norm(c)
        self._embed_scale = embed_scale
        owners = cache_owners or range(c.num_hidden_layers)
        self._kept_by = sorted(set(owners))
        self._cache_of = [self._kept_by.index(owner) for owner in owners]

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What is kept of each token, in the order of the layers that write it."""
        return tuple(self.layers[index].cache_spec for index in self._kept_by)

    def __call__(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """The normed hidden states of the rows whose logits are wanted, (R, hidden_size)."""
        step = Step(batch)
        x = self.embed_tokens(batch.token_ids)
        if self._embed_scale is not None:
            x = ops.scale(x, self._embed_scale)
        if self.stream is not None:
            x = self.stream.enter(x, step)
        for layer, cache in zip(self.layers, self._cache_of, strict=True):
            x = layer(x, step, caches[cache])
        x = ops.select_rows(x, batch.logit_rows)
        return self.norm(self.stream.leave(x) if self.stream is not None else x)


class CausalLM(Model):
    """A decoder with a head over its vocabulary.

    layer: makes the layer of an index. embed_scale, logit_scale: factors on embeddings and logits.
    final_softcap: bound of the logits. length_switch: as of `LongRope`. norm: the one after the
    last layer. stream, cache_owners: as in `Decoder`.
    """

    def __init__(
        self,
        c: BaseConfig,
        layer: Callable[[int], Layer],
        *,
        embed_scale: float | None = None,
        logit_scale: float | None = None,
        final_softcap: float | None = None,
        head_bias: bool = False,
        length_switch: int | None = None,
        norm: MakeNorm = rms_norm,
        stream: Stream | None = None,
        cache_owners: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.vocab_size = self.result_size = c.vocab_size
        self.context_length = c.max_position_embeddings
        self.length_switch = length_switch
        self.model = Decoder(
            c, layer, embed_scale=embed_scale, norm=norm, stream=stream, cache_owners=cache_owners
        )
        self.lm_head: Head | TiedHead = (
            TiedHead(self.model.embed_tokens)
            if c.tie_word_embeddings
            else Head(c.hidden_size, c.vocab_size, bias=head_bias)
        )
        self._logit_scale = logit_scale
        self._final_softcap = final_softcap

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What is kept of each token, in the order of the layers that write it."""
        return self.model.cache_specs

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """Logits (R, vocab_size), float32, of batch.logit_rows; appends all rows to the caches.

        caches: one per entry of `cache_specs`, in their order.
        """
        logits = self.lm_head(self.model(batch, caches))
        if self._logit_scale is not None:
            logits = ops.scale(logits, self._logit_scale)
        if self._final_softcap is not None:
            logits = ops.softcap(logits, self._final_softcap)
        return logits
