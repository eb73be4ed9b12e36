"""The models that this server knows: a table kept fresh by rescans, with cards from the engine."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog

from engine.api import Engine, EngineError, ModelCard
from gateway.catalog.models import Entry, KnownModel, Said
from gateway.catalog.names import Names, presets_of, settle_ids
from gateway.catalog.scan import Found
from gateway.catalog.stores import Store, find_models
from gateway.config import Defaults, ModelSettings, Preset, laid_under
from gateway.errors import ModelLoadFailed, ModelNotFound

MAX_INSPECTIONS = 2
MAX_PAUSE_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(eq=False)
class Catalog:
    """`start` once; then `resolve` names and list `models` and `failures`."""

    root: Path
    engine: Engine
    aliases: Mapping[str, str] = field(default_factory=dict)
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    settings: Mapping[str, ModelSettings] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    stores: tuple[Store, ...] = ()
    mentioned: Iterable[str] = ()
    """Names that settings beside these speak of: unknown ones are warned of, as they are."""
    is_elsewhere: Callable[[str], bool] = lambda name: False  # noqa: ARG005
    """Whether another server has a model of that name, so that none is missing here."""
    when_scanned: Callable[[], None] = lambda: None
    """Called when names may lead elsewhere than before."""

    def __post_init__(self) -> None:
        self._stored_presets: dict[str, Preset] = {}
        self._unknown: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._names = Names({}, self.aliases)
        self._limit = asyncio.Semaphore(MAX_INSPECTIONS)
        self._scan: asyncio.Task[None] | None = None
        self._scan_began = float("-inf")
        self._pause_seconds = 0.0

    def reconfigure(
        self,
        *,
        aliases: Mapping[str, str],
        chat_templates: Mapping[str, str],
        settings: Mapping[str, ModelSettings],
        presets: Mapping[str, Preset],
        defaults: Defaults,
        mentioned: Iterable[str],
    ) -> None:
        """Other words about the same models; those whose cards depend on them are inspected anew."""
        self.aliases, self.chat_templates = aliases, chat_templates
        self.settings, self.presets, self.defaults = settings, presets, defaults
        self.mentioned = mentioned
        self._enter({model_id: entry.found for model_id, entry in self._entries.items()})
        self._warn_of_unknown()
        self.when_scanned()

    def start(self) -> None:
        """Looks around in the background."""
        self._begin_scan()

    async def stop(self) -> None:
        tasks = [entry.inspection for entry in self._entries.values() if entry.inspection]
        tasks += [self._scan] if self._scan else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def models(self) -> list[KnownModel]:
        """Those that were inspected and are good, by id; a preset stands for itself."""
        known = [self._known(e, e.card) for e in self._entries.values() if e.card]
        by_id = {model.id: model for model in known}
        for name, preset in self._all_presets().items():
            root = self.id_of(preset.model)
            if root in by_id:
                by_id[name] = _as_preset(by_id[root], name, preset)
        return [by_id[model_id] for model_id in sorted(by_id)]

    @property
    def failures(self) -> dict[str, str]:
        """Id -> why the model cannot be served."""
        return {e.id: e.failure.message for e in self._entries.values() if e.failure}

    async def wait(self, seconds: float) -> None:
        """Until what lies in the folder now is inspected, at most `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.refresh()
                await asyncio.gather(*(self._inspected(e) for e in [*self._entries.values()]))

    async def resolve(self, name: str) -> KnownModel:
        """The model or preset of that name; waits for its inspection. Of equal names a preset wins.

        Raises `ModelNotFound`, `ModelLoadFailed` for files that are no good, and whatever else
        kept the engine from inspecting them.
        """
        target = next((t for a, t in self.aliases.items() if a.casefold() == name.casefold()), name)
        presets = self._all_presets()
        by_name = {preset_name.casefold(): preset_name for preset_name in presets}
        preset_name = by_name.get(name.casefold()) or by_name.get(target.casefold())
        if preset_name is None:
            return await self._resolve(name)
        preset = presets[preset_name]
        return _as_preset(await self._resolve(preset.model), preset_name, preset)

    async def knows(self, name: str) -> bool:
        """Whether a model here has that name; waits for the first walk, and walks no more."""
        await self._scanned()
        return self.id_of(name) is not None

    def id_of(self, name: str) -> str | None:
        """The id of the model, not the preset, that a name leads to; None if it is not here now."""
        with suppress(ModelNotFound):
            return self._names.find(name)
        return None

    async def _resolve(self, name: str) -> KnownModel:
        entry = await self._find(name)
        if entry.failure and entry.failure.code == "bad_checkpoint":
            await self.refresh()  # the file may have been replaced, or be complete by now
            entry = await self._find(name)
        await self._inspected(entry)
        if entry.card is None:
            raise _unusable(entry)
        return self._known(entry, entry.card)

    async def refresh(self) -> None:
        """Returns when a walk that began after this call has ended. All who ask share a walk."""
        asked = self.clock()
        while self._scan_began < asked:
            self._begin_scan()
            await self._scanned()

    async def _find(self, name: str) -> Entry:
        await self._scanned()
        try:
            return self._entries[self._names.find(name)]
        except ModelNotFound:
            await self.refresh()
            return self._entries[self._names.find(name)]

    def _begin_scan(self) -> None:
        if self._scan is None or self._scan.done():
            self._scan = asyncio.create_task(self._scan_gently(), name="catalog-scan")

    async def _scanned(self) -> None:
        if self._scan is not None:
            await asyncio.shield(self._scan)

    async def _scan_gently(self) -> None:
        """However often unknown names are asked for, a slow disk is walked a tenth of the time."""
        await asyncio.sleep(self._pause_seconds)
        self._scan_began = self.clock()
        await self._rescan()
        self._pause_seconds = min(9 * (self.clock() - self._scan_began), MAX_PAUSE_SECONDS)

    async def _rescan(self) -> None:
        ids = settle_ids(await asyncio.to_thread(find_models, self.root, self.stores))
        gone = self._entries.keys() - ids
        self._enter(ids)
        self._stored_presets = presets_of(ids)
        self._warn_of_unknown()
        self.when_scanned()
        if gone:
            log.info("models_gone", models=sorted(gone))

    def _enter(self, ids: Mapping[str, Found]) -> None:
        """A card stays where both the files and what is said of them are what they were."""
        self._names = Names(ids, self.aliases)
        old, self._entries = self._entries, {}
        for model_id, found in ids.items():
            entry, said = old.get(model_id), self.said_of(model_id)
            if entry is None or (entry.found, entry.said) != (found, said):
                entry = Entry(model_id, found, said)
            self._entries[model_id] = entry
            self._begin_inspection(entry)

    def _warn_of_unknown(self) -> None:
        """Once of each name, and again should a model be gone that was there."""
        mentioned = {*self.settings, *(p.model for p in self.presets.values()), *self.mentioned}
        unknown = {n for n in mentioned if self.id_of(n) is None and not self.is_elsewhere(n)}
        if new := unknown - self._unknown:
            log.warning("settings_name_no_model", models=sorted(new))
        self._unknown = unknown

    def _all_presets(self) -> dict[str, Preset]:
        """The stores' own, and the operator's, which win."""
        return {**self._stored_presets, **self.presets}

    def _known(self, entry: Entry, card: ModelCard) -> KnownModel:
        said = entry.said
        if said.chat_template is not None and card.tasks == ("completion",):
            card = msgspec.structs.replace(card, tasks=("chat", *card.tasks))
        created = entry.found.stamp.modified_ns // 10**9
        aliases = tuple(a for a, target in self.aliases.items() if self._leads(target, entry.id))
        settings = self._settings_of(entry.id)
        defaults = laid_under(None, entry.id, settings, self.defaults)
        return KnownModel(
            entry.id,
            card,
            created,
            aliases,
            said.chat_template,
            settings,
            defaults=defaults,
            source=entry.found.source,
            place=entry.found.path,
            dtype=said.dtype,
            kv_dtype=said.kv_dtype,
        )

    def said_of(self, model_id: str) -> Said:
        """What a card of the model depends on by now, beside its files."""
        names, settings = self.chat_templates, self._settings_of(model_id)
        template = next((names[name] for name in names if self._leads(name, model_id)), None)
        return Said(template, settings.dtype, settings.kv_dtype)

    def _settings_of(self, model_id: str) -> ModelSettings:
        names = self.settings
        return next((names[n] for n in names if self._leads(n, model_id)), ModelSettings())

    def _leads(self, target: str, model_id: str) -> bool:
        return self.id_of(target) == model_id

    def _begin_inspection(self, entry: Entry) -> None:
        if not entry.is_settled and (entry.inspection is None or entry.inspection.done()):
            entry.inspection = asyncio.create_task(self._inspect(entry), name=f"inspect-{entry.id}")

    async def _inspected(self, entry: Entry) -> None:
        self._begin_inspection(entry)
        if entry.inspection is not None:
            await asyncio.shield(entry.inspection)

    async def _inspect(self, entry: Entry) -> None:
        async with self._limit:
            try:
                path, said = str(entry.found.path), entry.said
                entry.card = await self.engine.inspect(
                    path, said.chat_template, said.dtype, said.kv_dtype
                )
                entry.failure = None
            except EngineError as error:
                entry.failure = error
                log.warning("model_unusable", model=entry.id, code=error.code, reason=error.message)


def _as_preset(model: KnownModel, name: str, preset: Preset) -> KnownModel:
    defaults = laid_under(preset, model.id, *([model.defaults] if model.defaults else []))
    return replace(model, id=name, aliases=(), preset=preset, base=model.id, defaults=defaults)


def _unusable(entry: Entry) -> Exception:
    assert entry.failure, f"{entry.id} was inspected without a result"
    if entry.failure.code != "bad_checkpoint":
        return entry.failure  # a process died; the next request inspects anew
    return ModelLoadFailed(
        f"The model {entry.id!r} cannot be served: {entry.failure.message}.", "model"
    )
