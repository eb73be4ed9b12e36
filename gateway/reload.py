"""Takes over what changed in the settings while requests run."""

import asyncio
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.catalog.catalog import Catalog
from gateway.config import Settings, SettingsError
from gateway.config.changes import changes, taken_over
from gateway.config.source import Source, Stamp
from gateway.pool import PoolModel
from gateway.routes.lease import pool_model
from gateway.routes.services import Services
from gateway.templates import aliases_of, templates_of
from gateway.translate.presets import check_presets
from gateway.wiring import check_devices, check_reachable, limits_of, mentioned_in

LOOK_SECONDS = 1.0

log = structlog.get_logger()


def take_over(services: Services, new: Settings) -> None:
    """Lets all that is asked from now on go by the new settings, as far as they need no restart.

    Nothing waits and nothing is ended. Raises `SettingsError` before anything has changed.
    """
    settings = taken_over(services.settings, new)
    check_devices(settings, services.engine)
    check_presets(settings)
    aliases, templates = aliases_of(settings), templates_of(settings)
    check_reachable(settings, services.gate.keyring)
    services.upstreams.reconfigure(settings.upstreams)
    services.gate.reconfigure(settings)
    services.settings = settings
    services.pool.retune(limits_of(settings))
    services.catalog.reconfigure(
        aliases=aliases,
        chat_templates=templates,
        settings=settings.model,
        presets=settings.presets,
        defaults=settings.defaults,
        mentioned=mentioned_in(settings),
    )
    services.pool.renew([pool_model(model) for model in services.catalog.models])
    services.pool.retire(lambda model: _is_outdated(model, services.catalog))
    for listener in services.when_reloaded:
        listener(settings)


def _is_outdated(model: PoolModel, catalog: Catalog) -> bool:
    """Whether the next to ask for it has it computed, or its tokens kept, in something else."""
    said = catalog.said_of(model.id or model.key)
    return (model.dtype, model.kv_dtype) != (said.dtype, said.kv_dtype)


class Reloader:
    """Reads settings again when it is told to, or sees that a file of theirs is another.

    A file with mistakes changes nothing; the log and `/metrics` tell of it.
    """

    def __init__(self, services: Services, source: Source) -> None:
        self._services = services
        self._source = source
        self._reloads, self._is_current = _metrics(services.registry)
        self._is_current.set(1)
        self._read = services.settings
        self._stamps = source.stamps(self._read)
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Has the settings read whether a file changed or not."""
        self._wanted.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            is_wanted = await self._waited(LOOK_SECONDS)
            stamps = await self._look()
            known = {file: stamp for file, stamp in self._stamps.items() if file in stamps}
            if is_wanted or stamps != known:
                self._stamps = stamps  # as before they are read, so that later changes are seen
                await self._reload()

    async def _look(self) -> dict[Path, Stamp]:
        """At the files of what was read last, refused or not: a template may be what is amiss."""
        return await asyncio.to_thread(self._source.stamps, self._read)

    async def _waited(self, seconds: float) -> bool:
        """Whether it was asked for meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return False
        self._wanted.clear()
        return True

    async def _reload(self) -> None:
        old = self._services.settings
        try:
            self._read = await asyncio.to_thread(self._source.load)
            self._stamps = await self._look() | self._stamps  # before templates are read
            take_over(self._services, self._read)
        except SettingsError as error:
            log.error("settings_refused", reason=str(error))  # noqa: TRY400 (the mistake is theirs)
            self._ended("refused")
            return
        found = changes(old, self._read)
        log.info("settings_reloaded", changed=found.live)
        if found.restart:
            log.warning("settings_need_restart", settings=found.restart)
        self._ended("applied")

    def _ended(self, outcome: str) -> None:
        self._reloads.labels(outcome).inc()
        self._is_current.set(outcome == "applied")


def _metrics(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    reloads = Counter(
        "roundhouse_config_reloads",
        "Times that the settings were read again: applied, or refused for a mistake in them.",
        ("outcome",),
        registry=registry,
    )
    is_current = Gauge(
        "roundhouse_config_last_reload_successful",
        "1, or 0 while the settings' file has a mistake and the ones before it hold.",
        registry=registry,
    )
    return reloads, is_current
