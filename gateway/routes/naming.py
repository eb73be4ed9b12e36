"""Which model a client's name means, here or at another server, and who answers in its place."""

from dataclasses import replace

from gateway.catalog.models import KnownModel
from gateway.config import laid_under
from gateway.errors import ModelNotFound, Unsupported
from gateway.keys import visit
from gateway.routes.on_demand import bring_model
from gateway.routes.services import Services


async def needed_model(services: Services, name: str) -> KnownModel:
    """As `find_model`, for a request that is to be answered: the hub's, if it may be brought.

    Raises `HubError` too, for one that does not come.
    """
    try:
        return await find_model(services, name)
    except ModelNotFound:
        if model := await bring_model(services, name):
            return model
        raise


async def find_model(services: Services, name: str) -> KnownModel:
    """The model here of that name, or else the one at an upstream. Raises as `Catalog.resolve`."""
    if not services.settings.upstreams:
        return await services.resolve(name)
    remote = find_remote(services, name)
    if remote and not await services.catalog.knows(remote.root):
        return services.permit(remote, name)
    try:
        return await services.resolve(name)
    except ModelNotFound:
        await services.upstreams.discover(name)
        if found := find_remote(services, name):
            return services.permit(found, name)
        raise


async def find_here(services: Services, name: str) -> KnownModel:
    """The model here of that name, for what only the server that has it can do."""
    if services.settings.upstreams and (await find_model(services, name)).upstream:
        raise Unsupported(f"model: {name[:200]!r} is at another server, and not here.", "model")
    return await services.resolve(name)


def find_remote(services: Services, name: str) -> KnownModel | None:
    """A model of an upstream by its name, an alias or a preset, of those that are known now."""
    settings, wanted = services.settings, name.casefold()
    aliases = {alias.casefold(): target for alias, target in settings.aliases.items()}
    wanted = aliases.get(wanted, wanted).casefold()
    presets = {each.casefold(): each for each in settings.presets}
    if preset_name := presets.get(wanted):
        preset = settings.presets[preset_name]
        model = _with_settings(services, preset.model)
        if model is None:
            return None
        others = [model.defaults] if model.defaults else []
        defaults = laid_under(preset, model.id, *others)
        return replace(model, id=preset_name, preset=preset, base=model.id, defaults=defaults)
    return _with_settings(services, wanted)


def all_models(services: Services) -> list[KnownModel]:
    """Those that the request's key may use, by id: here, and else at upstreams."""
    if not services.settings.upstreams:
        return services.models
    here = {model.id.casefold() for model in services.catalog.models}
    names = [model.id for model in services.upstreams.models] + [*services.settings.presets]
    found = [find_remote(services, name) for name in names if name.casefold() not in here]
    key = visit().key
    remote = [model for model in found if model and key.allows(*model.names)]
    return sorted([*services.models, *remote], key=lambda model: model.id)


def fallback_of(services: Services, name: str) -> str | None:
    """Whom the settings name to answer where the model of this name cannot be served."""
    tables = services.settings.model
    fallbacks = {other: table.fallback for other, table in tables.items() if table.fallback}
    wanted = _root(services, name) if fallbacks else ""
    return next((f for other, f in fallbacks.items() if _root(services, other) == wanted), None)


def _with_settings(services: Services, name: str) -> KnownModel | None:
    model = services.upstreams.find(name)
    if model is None:
        return None
    tables = services.settings.model
    own = next((tables[each] for each in tables if each.casefold() == model.id.casefold()), None)
    said = [own, services.settings.defaults] if own else [services.settings.defaults]
    aliases = [a for a, t in services.settings.aliases.items() if t.casefold() == name.casefold()]
    defaults = laid_under(None, model.id, *said)
    return replace(model, defaults=defaults, aliases=tuple(aliases))


def _root(services: Services, name: str) -> str:
    """Equal for all names of one model, even of one that is not there."""
    presets = {each.casefold(): preset.model for each, preset in services.settings.presets.items()}
    name = presets.get(name.casefold(), name)
    if found := services.catalog.id_of(name):
        return found
    remote = find_remote(services, name)
    return (remote.root if remote else name).casefold()
