"""Models whose forward is a native program."""

from collections.abc import Sequence

import structlog
from torch import Tensor

from engine.cache.views import CacheView
from engine.kernels.batch import ForwardBatch
from engine.kernels.cpu.calls import shared_threads
from engine.kernels.cpu.compiler import compile_program
from engine.kernels.cpu.program import Program
from engine.kernels.group import LABEL, Group
from engine.kernels.trace import Tape
from engine.kernels.weight import Weight
from engine.models.card import step_rows
from engine.models.limits import HOST
from engine.nn.model import Model, Traits
from engine.nn.module import group_of, parameters

log = structlog.get_logger()


class ProgrammedModel:
    """A loaded model and the program of its forward, over one set of caches.

    tape: of the same model, from `engine.models.card.tape_of`.
    """

    def __init__(self, model: Model, tape: Tape, caches: Sequence[CacheView]) -> None:
        self._model = model  # keeps the weights
        constants: dict[str, Weight | Tensor | Group] = {
            parameter.path: parameter.get() for parameter in parameters(model)
        }
        if (group := group_of(model)) is not None:
            constants[LABEL] = group
        for index, cache in enumerate(caches):
            constants |= {f"cache.{index}.{name}": t for name, t in cache.by_name.items()}
        self.program: Program = compile_program(
            tape, constants, shared_threads(), step_rows(model), HOST.logit_rows
        )
        if self.program.fallbacks:
            log.warning("ops_run_in_torch", ops=dict(self.program.fallbacks))

    @property
    def workspace_bytes(self) -> int:
        """Of its values. What operations use while they run is the process's, shared by programs."""
        return self.program.memory_bytes

    @property
    def vocab_size(self) -> int:
        return self._model.vocab_size

    @property
    def traits(self) -> Traits:
        return self._model.traits

    @property
    def length_switch(self) -> int | None:
        return self._model.length_switch

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:  # noqa: ARG002
        """As `Model.forward`, with the caches that it was made for; valid until the next."""
        return self.program.run(batch)
