from collections.abc import Sequence

from torch import Tensor

from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.decoder import CausalLM
from engine.nn.model import Model, Traits
from engine.nn.text_heads import UNIT_EPS


class Embedder(Model):
    """A decoder without its head: the last token's hidden state is the text's vector.

    is_unit: of length 1. The text ends as the model wants texts to end, with its EOS.
    """

    traits = Traits(task="embedding")

    def __init__(self, decoder: CausalLM, *, is_unit: bool) -> None:
        super().__init__()
        self.vocab_size, self.context_length = decoder.vocab_size, decoder.context_length
        self.length_switch = decoder.length_switch
        self.result_size = decoder.model.hidden_size
        self.model = decoder.model
        self._is_unit = is_unit

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What is kept of each token, in the order of the layers that write it."""
        return self.model.cache_specs

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """The vectors (R, result_size), float32, of batch.logit_rows; appends all rows."""
        x = ops.widen(self.model(batch, caches))
        return ops.l2_norm(x, UNIT_EPS) if self._is_unit else x
