"""Models on a device that is none, with weights and caches that lie where torch puts them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from engine.cache.caches import Caches
from engine.cache.views import CacheView
from engine.checkpoint import open_checkpoint
from engine.core.device_model import DeviceModel
from engine.core.opening import cache_size
from engine.core.resident import Resident
from engine.kernels.batch import ForwardBatch
from engine.kernels.trace import Tape
from engine.models.blueprint import blueprint
from engine.models.card import tape_of
from engine.nn.decoder import CausalLM
from engine.residency.loader import load
from fake_device import FakeDevice


@dataclass(frozen=True)
class Loaded:
    model: CausalLM
    tape: Tape

    def on(self, caches: Sequence[CacheView], accelerator: FakeDevice | None = None) -> DeviceModel:
        return DeviceModel(self.model, self.tape, caches, None, accelerator or FakeDevice())

    def caches(self, kv_tokens: int, state_slots: int = 16) -> Caches:
        specs = self.model.cache_specs
        return Caches.of(specs, cache_size(specs, kv_tokens, state_slots), torch.float32)

    def resident(
        self, kv_tokens: int = 512, state_slots: int = 16, *, ahead: bool = True
    ) -> Resident:
        caches = self.caches(kv_tokens, state_slots)
        return Resident(self.on(caches.views), caches, ahead=ahead)


@cache
def loaded(path: Path) -> Loaded:
    """In float32, once."""
    with open_checkpoint(path) as checkpoint:
        tape = tape_of(blueprint(checkpoint).model, torch.float32)
        model = load(checkpoint, "dense", torch.float32, lambda _: None, lambda: False)
    return Loaded(model, tape)


def as_decode(batch: ForwardBatch) -> ForwardBatch:
    """With what is known of it beforehand, as the core's batches have."""
    longest = int(batch.layout.context_lens.max())
    return replace(batch, layout=replace(batch.layout, longest_query=1, longest_context=longest))
