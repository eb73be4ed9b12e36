"""A model that is not here, brought because a request names it, where the operator wants that."""

from gateway.catalog.models import KnownModel
from gateway.hub.allow import is_allowed
from gateway.hub.errors import HubError
from gateway.hub.reference import Reference, read_reference
from gateway.keys import visit
from gateway.routes.pulling import finish
from gateway.routes.services import Services


async def bring_model(services: Services, name: str) -> KnownModel | None:
    """The model, once it is here; None if it is not to be brought. Raises `HubError`."""
    reference = _wanted(services, name)
    if reference is None:
        return None
    done = await finish(services, services.pulls.start(reference))
    return await services.resolve(done.model)


def pull_progress(services: Services, name: str) -> str | None:
    """How far a model is that a client waits for; None if it is not on its way."""
    for pull in services.pulls.running:
        if pull.name.casefold() == name.casefold():
            return f"pulling {pull.name} {pull.tally.fraction:.0%}"
    return None


def _wanted(services: Services, name: str) -> Reference | None:
    """What to pull. A key needs the right to manage models as well, and to use this one."""
    settings, key = services.settings.hub, visit().key
    if not settings.pull_on_demand or "manage" not in key.scopes:
        return None
    try:
        reference = read_reference(name)
    except HubError:
        return None
    is_ours = is_allowed(reference.repo, settings.allow) and key.allows(reference.repo)
    return reference if is_ours else None
