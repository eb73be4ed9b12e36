"""The engine, as the gateway may use it."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from engine.api.models import Device, DType, KVDType, LoadOrder, LoadReport, ModelCard
from engine.api.replies import Delta, EngineStatus
from engine.api.requests import Grammar, Prepared, Prompt, Run, Spelling, TextSource


class Engine(Protocol):
    """What the gateway may ask. Every method may raise `EngineError`."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices whose workers are, or will again be, alive."""

    @property
    def can_spread(self) -> bool:
        """Whether a model may be loaded on several devices together, as `LoadOrder.others` says."""

    @property
    def status(self) -> EngineStatus: ...

    async def inspect(
        self,
        path: str,
        chat_template: str | None = None,
        dtype: DType = "auto",
        kv_dtype: KVDType = "auto",
    ) -> ModelCard:
        """The card of the checkpoint at `path`, from its headers; the template is the operator's.

        dtype, kv_dtype: those of the orders to load it, since what it takes depends on them.
        """

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        """Loads beside what is running. Cancelling waits until the memory is free again."""

    async def evict(self, device: str, handle: int) -> None:
        """Drops a model that has no sequences, or is paused; returns when its memory is free.

        Of a model whose other devices were lost, `device` is any that is left; its sequences ended
        then.
        """

    async def pause(self, device: str, handle: int) -> None:
        """Takes a model's weights away between two tokens; returns when their memory is free.

        Its sequences stay, with what the host's memory can keep of their caches, and may still be
        started and cancelled. An order that `resumes` the handle lets them go on, none the wiser.
        """

    async def prepare(self, source: TextSource, prompt: Prompt) -> Prepared:
        """Renders and tokenizes. Needs no device, so bad requests cost no swap."""

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        """Raises `bad_request`, with param "grammar", for one that no text of the model can follow.

        Its message is the reason alone. Needs no device.
        """

    async def spell(self, ticket: int) -> Spelling:
        """What a prepared prompt reads."""

    def discard(self, ticket: int) -> None:
        """Forgets a prepared prompt that will not run, or has run."""

    def generate(self, device: str, handle: int, runs: Sequence[Run]) -> AsyncIterator[Delta]:
        """Runs sequences on a loaded model until each has finished.

        A delta may carry a `failure`, which ends its choice; losing a process raises. Closing the
        iterator early cancels what is still running.
        """

    async def embed(
        self, device: str, handle: int, tickets: Sequence[int], salt: str = ""
    ) -> list[bytes]:
        """The vectors of prepared prompts, in their order, by a model for "embedding" or "rerank".

        Float32 values, little-endian: one score, of a pair, for each by a reranker. Cancelling stops
        what is still running. salt: as of `Run`. Raises `bad_request` for a model that generates.
        """

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Calls back with a device's name when its worker dies, before it is started anew."""
