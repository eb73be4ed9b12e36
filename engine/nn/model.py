from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from engine.api import Task
from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.kernels.batch import ForwardBatch
from engine.nn.module import Module, parameters


@dataclass(frozen=True, slots=True)
class Traits:
    """What who runs a model must know of it.

    task: what it is for; what generates says "completion". max_whole_tokens: of a model that must
    read a text in one step, how long that may be. position_offset: position of a text's first
    token. num_segments: how many texts it tells apart in one sequence.
    """

    task: Task = "completion"
    max_whole_tokens: int | None = None
    position_offset: int = 0
    num_segments: int = 1

    @property
    def generates(self) -> bool:
        return self.task == "completion"


class Model(Module, ABC):
    """What can be loaded and run, without its weights at first.

    length_switch: as of `LongRope`. result_size: width of what `forward` gives.
    """

    vocab_size: int
    context_length: int
    result_size: int
    length_switch: int | None = None
    traits: Traits = Traits()

    @property
    @abstractmethod
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        """What is kept of each token, in the order of the layers that write it."""

    @property
    def weights_bytes(self) -> int:
        """Bytes of all parameters, once they are loaded."""
        return sum(parameter.get().nbytes for parameter in parameters(self))

    @abstractmethod
    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        """A row (R, result_size), float32, for each of batch.logit_rows; appends to the caches.

        caches: one per entry of `cache_specs`, in their order.
        """
