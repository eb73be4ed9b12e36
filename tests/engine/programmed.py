"""Models that run as native programs, loaded without scheduler or image."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from engine.api import Form
from engine.cache.spec import CacheSpec
from engine.cache.views import CacheView
from engine.checkpoint import open_checkpoint
from engine.core.programs import ProgrammedModel
from engine.kernels.batch import ForwardBatch
from engine.kernels.cpu.tiles import tile
from engine.kernels.weight import Weight
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.nn.decoder import CausalLM
from engine.nn.module import parameters
from engine.residency.loader import load


class Programmed:
    """As a `CausalLM`; its program is made for the first caches that it is given."""

    def __init__(self, path: Path, form: Form, dtype: torch.dtype) -> None:
        with open_checkpoint(path) as checkpoint:
            self._tape = tape_of(blueprint(checkpoint).model, dtype)
            self.model: CausalLM = load(checkpoint, form, dtype, _ignore, lambda: False)
        for parameter in parameters(self.model):
            value = parameter.get()
            if isinstance(value, Weight):
                parameter.set(tile(value))
        self._programmed: ProgrammedModel | None = None
        self._caches: Sequence[CacheView] = ()

    @property
    def cache_specs(self) -> tuple[CacheSpec, ...]:
        return self.model.cache_specs

    @property
    def fallbacks(self) -> dict[str, int]:
        """Ops that ran in torch, once there is a program."""
        assert self._programmed is not None
        return dict(self._programmed.program.fallbacks)

    def forward(self, batch: ForwardBatch, caches: Sequence[CacheView]) -> Tensor:
        if self._programmed is None or caches is not self._caches:
            self._caches = caches
            self._programmed = ProgrammedModel(self.model, self._tape, caches)
        return self._programmed.forward(batch, caches)


def _ignore(_: float) -> None:
    """Nobody watches the load."""
