"""Models that come from the hub because a request wants it: who may, and who hears of it."""

import asyncio
from pathlib import Path

from gateway.config import HubSettings
from gateway.hub.access import Access
from gateway.hub.allow import is_allowed
from gateway.hub.errors import HubError
from gateway.hub.pulls import Pull, Pulls
from gateway.hub.reference import Reference, read_reference
from gateway.hub.remove import remove
from gateway.hub.reports import Done, Failed, Progress, Report
from gateway.llamacpp.models import (
    DownloadEvent,
    DownloadFailed,
    DownloadFailure,
    FileProgress,
    ModelEvent,
)
from gateway.routes.services import Services

INSPECTION_SECONDS = 10.0


def access_of(settings: HubSettings) -> Access:
    return Access(settings.endpoint, is_offline=settings.offline)


def allowed_reference(services: Services, name: str) -> Reference:
    """What a request names. Raises `HubError` for what the operator does not let requests pull."""
    reference = read_reference(name)
    check_allowed(services, reference.repo)
    return reference


def check_allowed(services: Services, repo: str) -> None:
    if not is_allowed(repo, services.settings.hub.allow):
        raise HubError(
            "not_allowed",
            f"{repo} is none that requests may have pulled or removed here: the operator names those "
            f"in [hub] allow, or runs 'roundhouse pull {repo}'",
        )


async def finish(services: Services, pull: Pull) -> Done:
    """Waits for a pull, and until what came is in the list of models. Raises `HubError`."""
    done = await services.pulls.finished(pull)
    await services.catalog.wait(INSPECTION_SECONDS)
    return done


def tell_of_pull(services: Services, pull: Pull, report: Report) -> None:
    """Tells those who follow the models, in the words of llama.cpp's router."""
    if isinstance(report, Progress):
        data = {report.file: FileProgress(report.done, report.total)}
        services.events.tell(DownloadEvent(pull.name, data))
    elif isinstance(report, Failed):
        failure = DownloadFailure(report.code, report.message)
        services.events.tell(DownloadFailed(pull.name, failure))
    elif isinstance(report, Done):
        task = asyncio.create_task(_tell_it_is_there(services, pull))
        services.preloading.add(task)
        task.add_done_callback(services.preloading.discard)


async def _tell_it_is_there(services: Services, pull: Pull) -> None:
    """Whoever hears of it then finds the model in the list."""
    await services.catalog.wait(INSPECTION_SECONDS)
    services.events.changed()
    services.events.tell(ModelEvent(pull.name, "download_finished"))


async def remove_model(services: Services, name: str) -> None:
    """Has a model leave memory and disk; requests that it serves may end with its files still mapped.

    Raises `HubError` for one that the operator lets no request remove, or that is not ours to remove.
    """
    model = await services.resolve(name)
    root, path = services.settings.models_dir.absolute(), Path(model.card.path)
    if not path.is_relative_to(root):
        raise HubError("outside", f"{model.id} does not lie in the models folder")
    check_allowed(services, "/".join(path.relative_to(root).parts[:2]))
    services.pool.unload(model.key)
    await asyncio.to_thread(remove, root, path)
    await services.catalog.refresh()
    services.events.changed()
    services.events.tell(ModelEvent(model.id, "model_remove"))


def with_pulls(services: Services) -> Services:
    """Gives them what brings models, and ears for it."""
    services.pulls = Pulls(
        services.settings.models_dir,
        lambda: access_of(services.settings.hub),
        lambda pull, report: tell_of_pull(services, pull, report),
    )
    return services
