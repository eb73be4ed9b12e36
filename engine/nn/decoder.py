from collections.abc import Callable, Sequence

from torch import Tensor

from engine.cache.paged_kv import PagedKV
from engine.cache.spec import CacheSpec
from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.config import DecoderConfig
from engine.nn.layer import Layer
from engine.nn.linear import Embedding, Head, TiedHead
from engine.nn.module import Module, parameters
from engine.nn.norm import RMSNorm
from engine.nn.step import Step


class Decoder(Module):
    """Embedding, layers, and the norm after the last.

    The residual stream between them is float32 whatever the weights' dtype: rounding it after
    each layer is what costs bfloat16 models their margin.
    """

    def __init__(
        self, c: DecoderConfig, layer: Callable[[int], Layer], embed_scale: float | None
    ) -> None:
        super().__init__()
        self.embed_tokens = Embedding(c.vocab_size, c.hidden_size)
        self.layers = [layer(index) for index in range(c.num_hidden_layers)]
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self._embed_scale = embed_scale

    def __call__(self, batch: ForwardBatch, caches: Sequence[PagedKV]) -> Tensor:
        """The normed hidden states of the rows whose logits are wanted, (R, hidden_size)."""
        step = Step(batch)
        x = self.embed_tokens(batch.token_ids)
        if self._embed_scale is not None:
            x = ops.scale(x, self._embed_scale)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, step, cache)
        return self.norm(ops.select_rows(x, batch.logit_rows))


class CausalLM(Module):
    """A decoder with a head over its vocabulary.

    layer: makes the layer of an index. embed_scale: factor on embeddings. final_softcap: bound of
    the logits.
    """

    def __init__(
        self,
        c: DecoderConfig,
        layer: Callable[[int], Layer],
        *,
        embed_scale: float | None = None,
        final_softcap: float | None = None,
    ) -> None:
        super().__init__()
        self.vocab_size = c.vocab_size
        self.context_length = c.max_position_embeddings
        self.model = Decoder(c, layer, embed_scale)
        self.lm_head: Head | TiedHead = (
            TiedHead(self.model.embed_tokens)
            if c.tie_word_embeddings
            else Head(c.hidden_size, c.vocab_size)
        )
        self._final_softcap = final_softcap

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What each layer keeps, in order."""
        return tuple(layer.cache_spec for layer in self.model.layers)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all parameters, once they are loaded."""
        return sum(parameter.get().nbytes for parameter in parameters(self))

    def forward(self, batch: ForwardBatch, caches: Sequence[PagedKV]) -> Tensor:
        """Logits (R, vocab_size), float32, of batch.logit_rows; appends all rows to the caches.

        caches: one per entry of `cache_specs`, in their order.
        """
        logits = self.lm_head(self.model(batch, caches))
        if self._final_softcap is not None:
            logits = ops.softcap(logits, self._final_softcap)
        return logits
