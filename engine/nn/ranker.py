"""Decoders that say of a pair of texts how well they match, by what their last token leads to."""

from collections.abc import Sequence

from torch import Tensor

from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.kernels import ops
from engine.kernels.batch import ForwardBatch
from engine.nn.decoder import CausalLM
from engine.nn.linear import Linear
from engine.nn.model import Model, Traits


class Ranker(Model):
    """A decoder whose answer is yes or no: the score is how much likelier it is to say yes.

    Scores are logits, so that their logistic function is the share of yes among the two. yes, no:
    their token ids; without `no` it is the logit of yes itself. num_rows: of a matrix that stands
    for the head and holds those two rows, or one; 0 where there is the head.
    """

    traits = Traits(task="rerank")
    result_size = 1

    def __init__(
        self, decoder: CausalLM, *, yes: int = 0, no: int | None = None, num_rows: int = 0
    ) -> None:
        super().__init__()
        self.vocab_size, self.context_length = decoder.vocab_size, decoder.context_length
        self.length_switch = decoder.length_switch
        self.model = decoder.model
        self.score = Linear(decoder.model.hidden_size, num_rows) if num_rows else None
        self.lm_head = None if num_rows else decoder.lm_head
        self._yes, self._no = yes, no

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What is kept of each token, in the order of the layers that write it."""
        return self.model.cache_specs

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """The scores (R, 1), float32, of batch.logit_rows; appends all rows."""
        x = self.model(batch, caches)
        head = self.score or self.lm_head
        assert head is not None, "a matrix of scores, or the head"
        logits = ops.widen(head(x))
        yes = ops.select_columns(logits, self._yes, self._yes + 1)
        if self._no is None:
            return yes
        no = ops.select_columns(logits, self._no, self._no + 1)
        return ops.add(yes, ops.scale(no, -1.0))
