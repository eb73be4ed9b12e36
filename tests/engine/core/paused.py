"""A model that runs in a `Residents`, and is paused and resumed between its steps."""

from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import torch

from engine.api import Form
from engine.cache.caches import Caches
from engine.core.opening import cache_size, runnable
from engine.core.pacing import Pacing
from engine.core.resident import Resident
from engine.core.residents import Residents
from engine.core.weights import Opened, Weights
from engine.core.work import Add, Begin, Pause, Resume
from engine.residency.image_store import ImageStore
from engine.wire import Output, Start

HANDLE = 1

Keep = Callable[[Caches], Caches | None]
"""What is left of a paused model's caches when it is resumed."""


@dataclass
class Heard:
    """A `Reply` that remembers."""

    outputs_of: dict[int, list[Output]] = field(default_factory=dict)
    caches: list[Caches | None] = field(default_factory=list)

    def outputs(self, _: Hashable, outputs: list[Output]) -> None:
        for output in outputs:
            self.outputs_of.setdefault(output.sequence, []).append(output)

    def dropped(self, _: int, caches: Caches | None) -> None:
        self.caches.append(caches)

    def left(self) -> Caches:
        """Those of the last pause."""
        caches = self.caches.pop()
        assert caches is not None
        return caches

    def paused(self, _: int, caches: Caches | None) -> None:
        self.caches.append(caches)


class Pausable:
    """One checkpoint, whose steps read 16 tokens of prompts, so that they do not depend on time."""

    def __init__(
        self,
        path: Path,
        form: Form,
        dtype: torch.dtype,
        folder: Path,
        kv_tokens: int = 512,
        *,
        speculate: int = 0,
    ) -> None:
        self._speculate = speculate
        self._path, self._form, self._dtype, self._kv_tokens = path, form, dtype, kv_tokens
        self._weights = Weights(dtype, ImageStore(folder), warm_bytes=0)

    def run(
        self,
        starts: Sequence[Start],
        pauses: Collection[int] = (),
        keep: Keep = lambda caches: caches,
    ) -> dict[int, list[Output]]:
        """All outputs by sequence; it is paused after these steps. Each step begins one sequence."""
        heard, waiting, step = Heard(), list(starts), 0
        residents = Residents(heard)
        opened = self._add(residents)
        while waiting or not residents.is_idle:
            if waiting:
                residents.apply(Begin("owner", waiting.pop(0)))
            residents.step(residents.next_turn())
            residents.check()
            step += 1
            if step in pauses:
                residents.apply(Pause(HANDLE))
                self._weights.close(opened)
                opened = self._resume(residents, keep(heard.left()))
        self._weights.close(opened)
        return heard.outputs_of

    def _add(self, residents: Residents) -> Opened:
        opened = self._weights.open(self._path, self._form)
        caches = self._empty(opened)
        resident = Resident(runnable(opened, caches), caches, speculate=self._speculate)
        resident.sequences.pacing = Pacing(16, 16)
        residents.apply(Add(HANDLE, resident))
        return opened

    def _resume(self, residents: Residents, kept: Caches | None) -> Opened:
        opened = self._weights.open(self._path, self._form)
        caches = kept or self._empty(opened)
        resumed: Future[bool] = Future()
        residents.apply(Resume(HANDLE, runnable(opened, caches), caches, resumed))
        assert resumed.result(timeout=0)
        return opened

    def _empty(self, opened: Opened) -> Caches:
        specs = opened.model.cache_specs
        return Caches.of(specs, cache_size(specs, self._kv_tokens, 4), self._dtype)
