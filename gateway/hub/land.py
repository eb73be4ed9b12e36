"""Checked files into the models folder, so that a scan sees the whole model or none of it.

The marker, without which there is no model to see, leaves first and comes last. A crash in between
leaves an unseen model, whose files the next pull recognises by their content.
"""

from collections.abc import Callable
from contextlib import suppress

from gateway.hub.fetch import sync_folder
from gateway.hub.files import RemoteFile
from gateway.hub.place import Place, Record
from gateway.hub.plan import Plan
from gateway.hub.reports import Landing


def land(
    place: Place, plan: Plan, changed: list[RemoteFile], tell: Callable[[Landing], None]
) -> None:
    """Gives the files that are new or changed their names."""
    if not changed:
        return
    for path, record in place.records().items():
        if record.marker == plan.marker:
            path.unlink()  # what it says holds no longer
    marker = next(file for file in plan.files if file.path == plan.marker)
    _hide(place, marker, is_changed=marker in changed)
    for file in [*(file for file in changed if file != marker), marker]:
        tell(Landing(file.path))
        target = place.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        place.whole(file).replace(target)
        sync_folder(target.parent)


def _hide(place: Place, marker: RemoteFile, *, is_changed: bool) -> None:
    """One that stays the same steps aside; a crash leaves it among the checked ones."""
    path = place.folder / marker.path
    if is_changed:
        path.unlink(missing_ok=True)
    else:
        path.replace(place.whole(marker))
    if path.parent.exists():
        sync_folder(path.parent)


def remove_stale(place: Place, plan: Plan, old: Record | None) -> None:
    """What came with an earlier revision and belongs to none of what is there now."""
    if old is None or old.marker != plan.marker:
        return
    current = {file.path for file in plan.files}
    current |= {file.path for record in place.records().values() for file in record.files}
    for file in old.files:
        if file.path not in current:
            with suppress(OSError):
                (place.folder / file.path).unlink()
