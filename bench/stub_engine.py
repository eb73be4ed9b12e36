"""An engine inside the gateway's own process: all that it costs is handing on its deltas."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from stub_reply import NUM_PROMPT, Steps, deltas

from engine.api import (
    Delta,
    Device,
    DType,
    EngineStatus,
    Footprint,
    Grammar,
    KVDType,
    LoadOrder,
    LoadReport,
    ModelCard,
    Prepared,
    Prompt,
    Run,
    Spelling,
    TextSource,
)
from engine.links import Inbox

DEVICE = Device("cpu", 2**30)
REPORT = LoadReport(weights_bytes=1, kv_bytes=1, seconds=0.0)


def card(path: str) -> ModelCard:
    """Of a model that fits with any other."""
    return ModelCard(
        path=path,
        digest=path,
        family="llama",
        format="gguf",
        quantization="Q4_K",
        num_parameters=1,
        file_bytes=1,
        context_length=4096,
        vocab_size=4096,
        tasks=("chat", "completion"),
        footprints=(Footprint("dense", 1, 1, 1),),
    )


class StubEngine:
    """`engine.api.Engine` without processes. A model is what its file's name says."""

    devices: Sequence[Device] = (DEVICE,)
    can_spread = False
    status = EngineStatus(text_alive=True, workers={DEVICE.name: 0.0})

    def __init__(self) -> None:
        self._steps = Steps()
        self._models: dict[int, str] = {}

    async def inspect(
        self,
        path: str,
        chat_template: str | None = None,  # noqa: ARG002
        dtype: DType = "auto",  # noqa: ARG002
        kv_dtype: KVDType = "auto",  # noqa: ARG002
    ) -> ModelCard:
        return card(path)

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:  # noqa: ARG002
        self._models[order.handle] = Path(order.path).stem
        return REPORT

    async def evict(self, device: str, handle: int) -> None:  # noqa: ARG002
        del self._models[handle]

    async def pause(self, device: str, handle: int) -> None:
        raise NotImplementedError

    async def prepare(self, source: TextSource, prompt: Prompt) -> Prepared:  # noqa: ARG002
        return Prepared(1, [1] * NUM_PROMPT)

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        raise NotImplementedError

    async def spell(self, ticket: int) -> Spelling:
        raise NotImplementedError

    async def embed(self, device: str, handle: int, tickets: Sequence[int]) -> list[bytes]:
        raise NotImplementedError

    def discard(self, ticket: int) -> None:
        """Nothing was kept."""

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Nothing is ever lost."""

    async def generate(self, device: str, handle: int, runs: Sequence[Run]) -> AsyncIterator[Delta]:  # noqa: ARG002
        inbox, num_running = Inbox(), len(runs)
        for run in runs:
            self._steps.run(self._models[handle], partial(_put_next, inbox, deltas(run)))
        while num_running:
            delta = await inbox.get()
            assert isinstance(delta, Delta)
            num_running -= delta.finish_reason is not None
            yield delta


def _put_next(inbox: Inbox, source: Iterator[Delta]) -> bool:
    delta = next(source)
    inbox.put(delta)
    return delta.finish_reason is None
