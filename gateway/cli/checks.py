"""What is wrong with settings, as far as it can be told without starting anything."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config import Settings


def check_settings(settings: "Settings") -> None:
    """What would stop `roundhouse serve`. Raises `SettingsError`."""
    from gateway.connections import Certificate
    from gateway.devices import devices_of, with_devices
    from gateway.gpus import gpus_here
    from gateway.templates import aliases_of, templates_of
    from gateway.translate.presets import check_presets
    from gateway.wiring import check_device_names, check_reachable, keyring_of

    gpus = gpus_here(os.environ)
    here = with_devices(settings, gpus)
    if here.devices or here.memory is not None:
        check_device_names(here, [device.name for device in devices_of(here, gpus)])
    check_presets(settings)
    aliases_of(settings)
    templates_of(settings)
    check_reachable(settings, keyring_of(settings))
    if settings.tls is not None:
        Certificate(settings.tls)


def warnings_about(settings: "Settings") -> Iterator[str]:
    """Names that lead to no model. Folders change, so the server starts in spite of them."""
    from gateway.catalog.names import Names, settle_ids
    from gateway.catalog.stores import find_models, stores_of
    from gateway.errors import ModelNotFound

    found = settle_ids(find_models(settings.models_dir, stores_of(settings.discovery)))
    names = Names(found, {})
    presets = {name.casefold() for name in settings.presets}
    elsewhere = {name for upstream in settings.upstreams for name in upstream.theirs}
    for setting, name in _named(settings):
        if name.casefold() in presets or name in elsewhere or "*" in elsewhere:
            continue
        try:
            names.find(name)
        except ModelNotFound as error:
            yield f"{setting}: {error.message}"


def _named(settings: "Settings") -> Iterator[tuple[str, str]]:
    """Each setting that names a model, with the name."""
    for alias, name in settings.aliases.items():
        yield f"aliases.{alias}", name
    for name in settings.chat_templates:
        yield "chat_templates", name
    for name, model in settings.model.items():
        yield f"[model.{name!r}]", name
        if model.fallback is not None:
            yield f"[model.{name!r}]: fallback", model.fallback
    for preset_name, preset in settings.presets.items():
        yield f"[presets.{preset_name!r}]: model", preset.model
    for group in settings.groups:
        for name in group.models:
            yield f"[[groups]] {group.name!r}: models", name
