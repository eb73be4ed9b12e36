"""An engine without processes, for every test of the gateway.

    engine = FakeEngine([make_card("/m/a", weights_bytes=400)], [Device("cpu", 1000)])

Loads, evictions and pauses finish at once, unless `hold_loads` / `hold_evictions` / `hold_pauses`
is set; then a test decides when and how: `report_progress(path, 0.4)`, `finish_load(path)`,
`fail_load(path, error)`, `finish_eviction(path)`, `finish_pause(path)`. A load that resumes a paused
model lets its streams go on; one that fails leaves it paused. `extra_bytes[path]` is what a load
takes beyond its plan. `lose(device)` kills the worker: what ran on it raises `worker_lost`, the
`on_lost` callbacks run, and what lay on other devices too keeps their bytes until it is evicted
there; `restore(device)` starts it anew and the `on_ready` callbacks run.

`prepare` makes one token per word (ids count up from 100, stable by word) and records what it was
given in `prepared`; `errors["prepare"]` (or "inspect", "load", "generate"), when set, is raised.
`embed` gives each prompt's length and last id, cut to `vector_sizes[path]`, and records itself in
`embeddings`. `generate` sends `deltas[path]` as scripted, or else one delta per piece of `replies[path]` (by
default: "Hello", ", ", "world", "!"), each a token, cut at max_tokens. Each delta passes `gate`
first: clear it to hold a stream in its middle, `step()` lets one through. What was asked is kept
in `inspections`, `loads`, `evictions`, `generations`, `discarded` and `closed_streams`.

Bugs of the caller are raised and also kept in `bugs`, in case somebody swallows them (the fixture
`fake_engine` looks at the end): over-committing a device, using a handle twice, evicting a model
that is loading or generating, pausing one that is not ready, resuming one that is not paused.
Generating with a handle that is gone raises `stale_handle`.
"""

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from engine.api import (
    Capability,
    ChatPrompt,
    Delta,
    Device,
    DeviceStats,
    DType,
    EngineError,
    EngineStatus,
    FillPrompt,
    FinishReason,
    Footprint,
    Form,
    Grammar,
    KVDType,
    LoadOrder,
    LoadReport,
    ModelCard,
    PairPrompt,
    Prepared,
    Prompt,
    Run,
    Spelling,
    Task,
    TextPrompt,
    TextSource,
    TokenLogprob,
    TokenPrompt,
    Usage,
)


def make_card(
    path: str,
    *,
    weights_bytes: int = 400,
    kv_bytes_per_token: int = 0,
    workspace_bytes: int = 0,
    context_length: int = 2048,
    tasks: tuple[Task, ...] = ("chat", "completion"),
    forms: tuple[Form, ...] = ("dense",),
    footprints: tuple[Footprint, ...] | None = None,
    embedding_size: int = 0,
    is_matryoshka: bool = False,
    capabilities: tuple[Capability, ...] = (),
) -> ModelCard:
    """A card whose footprints all take `weights_bytes`, unless `footprints` are given."""
    return ModelCard(
        path=path,
        digest=f"digest of {path}",
        family="llama",
        format="gguf",
        quantization="Q4_K",
        num_parameters=1_000_000,
        file_bytes=weights_bytes,
        context_length=context_length,
        vocab_size=1000,
        tasks=tasks,
        footprints=footprints
        or tuple(
            Footprint(form, weights_bytes, kv_bytes_per_token, workspace_bytes) for form in forms
        ),
        embedding_size=embedding_size,
        is_matryoshka=is_matryoshka,
        capabilities=capabilities,
    )


@dataclass(slots=True)
class FakeModel:
    """A model on a fake device: its order, its bytes, and how far it is.

    bytes: on each of its devices. runs: cleared while its weights are away; its streams wait for
    it. is_broken: one of its devices was lost.
    """

    order: LoadOrder
    bytes: int
    progress: Callable[[float], None]
    done: asyncio.Future[None]
    is_loaded: bool = False
    is_paused: bool = False
    is_broken: bool = False
    devices: list[str] = field(default_factory=list)
    streams: int = 0
    runs: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.devices = [self.order.device, *self.order.others]

    @property
    def is_loading(self) -> bool:
        return not (self.is_loaded or self.is_paused or self.is_broken)


@dataclass(slots=True)
class FakeEngine:
    """`engine.api.Engine`, scripted. The module's docstring says how."""

    cards: Iterable[ModelCard] = ()
    devices: Sequence[Device] = (Device("cpu", 1000),)
    can_spread: bool = True
    hold_loads: bool = False
    hold_evictions: bool = False
    hold_pauses: bool = False
    replies: dict[str, list[str]] = field(default_factory=dict)
    deltas: dict[str, list[Delta]] = field(default_factory=dict)
    errors: dict[str, EngineError] = field(default_factory=dict)
    inspections: list[tuple[str, str | None, DType, KVDType]] = field(default_factory=list)
    loads: list[LoadOrder] = field(default_factory=list)
    evictions: list[int] = field(default_factory=list)
    pauses: list[int] = field(default_factory=list)
    extra_bytes: dict[str, int] = field(default_factory=dict)
    prepared: list[tuple[TextSource, Prompt]] = field(default_factory=list)
    checked: list[Grammar] = field(default_factory=list)
    discarded: list[int] = field(default_factory=list)
    generations: list[tuple[str, int, list[Run]]] = field(default_factory=list)
    embeddings: list[tuple[str, int, list[int]]] = field(default_factory=list)
    vector_sizes: dict[str, int] = field(default_factory=dict)
    closed_streams: int = 0
    stats: dict[str, DeviceStats] = field(default_factory=dict)
    bugs: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    models: dict[int, FakeModel] = field(default_factory=dict)
    _evicting: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    _pausing: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    _prompts: dict[int, list[int]] = field(default_factory=dict)
    _vocabulary: dict[str, int] = field(default_factory=dict)
    _tickets: int = 0
    _handles: set[int] = field(default_factory=set)
    _down: set[str] = field(default_factory=set)
    _lost_callbacks: list[Callable[[str], None]] = field(default_factory=list)
    _ready_callbacks: list[Callable[[str], None]] = field(default_factory=list)
    _cards: dict[str, ModelCard] = field(default_factory=dict)
    _single_steps: int = 0

    def __post_init__(self) -> None:
        self._cards = {card.path: card for card in self.cards}
        self.gate.set()

    # --- what a test does -----------------------------------------------------------------------

    def add(self, card: ModelCard) -> None:
        self._cards[card.path] = card

    def report_progress(self, path: str, fraction: float) -> None:
        self._loading(path).progress(fraction)

    def finish_load(self, path: str) -> None:
        _resolve(self._loading(path).done)

    def fail_load(self, path: str, error: EngineError) -> None:
        self._loading(path).done.set_exception(error)

    def finish_eviction(self, path: str) -> None:
        handle = next(h for h in self._evicting if self.models[h].order.path == path)
        _resolve(self._evicting[handle])

    def finish_pause(self, path: str) -> None:
        handle = next(h for h in self._pausing if self.models[h].order.path == path)
        _resolve(self._pausing[handle])

    def step(self) -> None:
        """Lets one delta through a closed gate."""
        self._single_steps += 1
        self.gate.set()

    def lose(self, device: str) -> None:
        """Kills the worker of `device` and tells who asked to know."""
        self._down.add(device)
        for handle, model in list(self.models.items()):
            if device in model.devices:
                model.devices.remove(device)
                model.is_broken = True
                if not model.devices:
                    del self.models[handle]
                model.runs.set()  # its streams find that it is gone
                _fail(model.done, _lost(device))
                _fail(self._evicting.get(handle), _lost(device))
                _fail(self._pausing.get(handle), _lost(device))
        for callback in self._lost_callbacks:
            callback(device)

    def restore(self, device: str) -> None:
        """Starts the worker of `device` anew, empty."""
        self._down.discard(device)
        for callback in self._ready_callbacks:
            callback(device)

    def held_bytes(self, device: str) -> int:
        models = self.models.values()
        return sum(m.bytes for m in models if device in m.devices and not m.is_paused)

    def _loading(self, path: str) -> FakeModel:
        for model in self.models.values():
            if model.order.path == path and model.is_loading:
                return model
        raise LookupError(f"{path} is not loading")

    # --- engine.api.Engine ----------------------------------------------------------------------

    @property
    def status(self) -> EngineStatus:
        alive = [d.name for d in self.devices if d.name not in self._down]
        return EngineStatus(
            text_alive=True, workers=dict.fromkeys(alive, 0.0), stats=dict(self.stats)
        )

    async def inspect(
        self,
        path: str,
        chat_template: str | None = None,
        dtype: DType = "auto",
        kv_dtype: KVDType = "auto",
    ) -> ModelCard:
        self.inspections.append((path, chat_template, dtype, kv_dtype))
        self._raise_scripted("inspect")
        if path not in self._cards:
            raise EngineError("bad_checkpoint", f"no checkpoint at {path}")
        return self._cards[path]

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        self._raise_scripted("load")
        for device in (order.device, *order.others):
            if device in self._down:
                raise _lost(device)
        model = (self._resume if order.resumes else self._admit)(order, progress)
        try:
            if self.hold_loads:
                await model.done
        except BaseException:
            model.is_paused = order.resumes and not model.is_broken
            if not (order.resumes or model.is_broken):
                self.models.pop(order.handle, None)
            raise
        model.is_loaded = True
        if not order.resumes:
            model.bytes += self.extra_bytes.get(order.path, 0)
        model.runs.set()
        return LoadReport(weights_bytes=model.bytes, kv_bytes=0, seconds=0.0)

    async def evict(self, device: str, handle: int) -> None:
        if handle not in self.models:
            raise EngineError("stale_handle", f"no model {handle} on {device}")
        model = self.models[handle]
        self._expect(device in model.devices, f"evicting {handle} from {device}, where it is not")
        self._expect(not model.is_loading, f"evicting {handle}, which is loading")
        self._expect(
            model.is_broken or not model.streams, f"evicting {handle}, which is generating"
        )
        self._expect(handle not in self._pausing, f"evicting {handle}, which is being paused")
        self.evictions.append(handle)
        if self.hold_evictions:
            self._evicting[handle] = asyncio.get_running_loop().create_future()
            try:
                await self._evicting[handle]
            finally:
                del self._evicting[handle]
        self.models.pop(handle, None)

    async def pause(self, device: str, handle: int) -> None:
        if handle not in self.models:
            raise EngineError("stale_handle", f"no model {handle} on {device}")
        model = self.models[handle]
        is_free = handle not in self._evicting and handle not in self._pausing
        self._expect(model.is_loaded and is_free, f"pausing {handle}, which is not ready")
        self.pauses.append(handle)
        model.runs.clear()
        if self.hold_pauses:
            self._pausing[handle] = asyncio.get_running_loop().create_future()
            try:
                await self._pausing[handle]
            finally:
                del self._pausing[handle]
        model.is_loaded, model.is_paused = False, True

    async def prepare(self, source: TextSource, prompt: Prompt) -> Prepared:
        self.prepared.append((source, prompt))
        self._raise_scripted("prepare")
        self._tickets += 1
        token_ids = self._tokenize(prompt)
        self._prompts[self._tickets] = token_ids
        return Prepared(self._tickets, token_ids)

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        self.checked.append(grammar)
        self._raise_scripted("check")

    async def spell(self, ticket: int) -> Spelling:
        """Words with a space between; an id that stands for none as <id>."""
        words = {number: word for word, number in self._vocabulary.items()}
        pieces = [words.get(n, f"<{n}>").encode() for n in self._prompts[ticket]]
        return Spelling(b" ".join(pieces).decode(), pieces)

    def discard(self, ticket: int) -> None:
        self._prompts.pop(ticket, None)
        self.discarded.append(ticket)

    async def generate(self, device: str, handle: int, runs: Sequence[Run]) -> AsyncIterator[Delta]:
        self.generations.append((device, handle, list(runs)))
        self._raise_scripted("generate")
        model = self.models.get(handle)
        if model is None or model.is_loading or model.is_broken:
            raise EngineError("stale_handle", f"no model {handle} on {device}")
        model.streams += 1
        try:
            for delta in self._script(model.order.path, runs):
                await self._pass_gate()
                await model.runs.wait()
                if model.is_broken:
                    raise _lost(device)
                yield delta
        except GeneratorExit:
            self.closed_streams += 1
            raise
        finally:
            model.streams -= 1

    async def embed(
        self, device: str, handle: int, tickets: Sequence[int], salt: str = ""
    ) -> list[bytes]:
        """Of each prompt: its length, and its last id, as many values as `vectors` has for its path."""
        self.embeddings.append((device, handle, list(tickets)))
        self._raise_scripted("embed")
        model = self.models.get(handle)
        if model is None or not (model.is_loaded or model.is_paused):
            raise EngineError("stale_handle", f"no model {handle} on {device}")
        size = self.vector_sizes.get(model.order.path, 2)
        prompts = [self._prompts[ticket] for ticket in tickets]
        return [struct.pack(f"<{size}f", *[len(ids), ids[-1]][:size]) for ids in prompts]

    def on_lost(self, callback: Callable[[str], None]) -> None:
        self._lost_callbacks.append(callback)

    def on_ready(self, callback: Callable[[str], None]) -> None:
        self._ready_callbacks.append(callback)

    # --- inside ---------------------------------------------------------------------------------

    def _expect(self, is_right: bool, bug: str) -> None:
        if not is_right:
            self.bugs.append(bug)
            raise AssertionError(bug)

    def _raise_scripted(self, method: str) -> None:
        if method in self.errors:
            raise self.errors[method]

    def _admit(self, order: LoadOrder, progress: Callable[[float], None]) -> FakeModel:
        self._expect(order.handle not in self._handles, f"handle {order.handle} used twice")
        self._handles.add(order.handle)
        self.loads.append(order)
        footprint = next(f for f in self._cards[order.path].footprints if f.form == order.form)
        done = asyncio.get_running_loop().create_future()
        # weights and caches are shared, and each device has a workspace of its own
        whole = footprint.total(order.kv_tokens, order.state_slots) - footprint.workspace_bytes
        share = math.ceil(whole / (1 + len(order.others))) + footprint.workspace_bytes
        model = FakeModel(order, share, progress, done)
        self._expect_room(model)
        self.models[order.handle] = model
        return model

    def _resume(self, order: LoadOrder, progress: Callable[[float], None]) -> FakeModel:
        model = self.models.get(order.handle)
        self._expect(model is not None and model.is_paused, f"resuming {order.handle}, not paused")
        assert model is not None
        self.loads.append(order)
        self._expect_room(model)
        model.order, model.progress = order, progress
        model.done = asyncio.get_running_loop().create_future()
        model.is_paused = False
        return model

    def _expect_room(self, model: FakeModel) -> None:
        for device in self.devices:
            if device.name in model.devices:
                held, budget = self.held_bytes(device.name), device.memory_bytes
                bug = f"{held} + {model.bytes} > {budget} bytes on {device.name}"
                self._expect(held + model.bytes <= budget, bug)

    def _tokenize(self, prompt: Prompt) -> list[int]:
        match prompt:
            case TextPrompt(text):
                words = text.split()
            case ChatPrompt(messages):
                words = [word for m in messages for word in str(m.get("content", "")).split()]
            case PairPrompt(first, second) | FillPrompt(first, second):
                words = [*first.split(), *second.split()]
            case TokenPrompt(token_ids):
                return list(token_ids)
        return [self._vocabulary.setdefault(w, 100 + len(self._vocabulary)) for w in words]

    async def _pass_gate(self) -> None:
        await self.gate.wait()
        if self._single_steps:
            self._single_steps -= 1
            if not self._single_steps:
                self.gate.clear()

    def _script(self, path: str, runs: Sequence[Run]) -> Iterable[Delta]:
        if path in self.deltas:
            yield from self.deltas[path]
            return
        for run in runs:
            yield from self._echo(run, self.replies.get(path, ["Hello", ", ", "world", "!"]))

    def _echo(self, run: Run, pieces: list[str]) -> Iterable[Delta]:
        prompt_tokens = len(self._prompts.get(run.ticket, ()))
        limit = run.generation.max_tokens
        sent = pieces[:limit]
        finish: FinishReason = "length" if len(pieces) > limit else "stop"
        wants_logprobs = run.generation.sampling.logprobs is not None
        for place, piece in enumerate(sent):
            is_last = place == len(sent) - 1
            token = TokenLogprob(place, piece, piece.encode(), -0.5, [])
            yield Delta(
                run.index,
                piece,
                token_ids=[place],
                logprobs=[token] if wants_logprobs else [],
                finish_reason=finish if is_last else None,
                usage=Usage(prompt_tokens, len(sent)) if is_last else None,
            )
        if not sent:
            yield Delta(run.index, finish_reason=finish, usage=Usage(prompt_tokens, 0))


def _lost(device: str) -> EngineError:
    return EngineError("worker_lost", f"the worker of {device} died")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None] | None, error: EngineError) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be waiting for it, which is no bug
