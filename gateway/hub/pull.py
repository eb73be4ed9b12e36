"""Brings a model of the hub into the models folder. Blocks; killed at any point, it can go on."""

import shutil
import time
from pathlib import Path

from gateway.hub.access import Access
from gateway.hub.digest import is_intact
from gateway.hub.errors import HubError, Transient
from gateway.hub.fetch import Fetcher, Pause, Tell, writing
from gateway.hub.files import Listing, RemoteFile, total_bytes
from gateway.hub.land import land, remove_stale
from gateway.hub.place import Kept, Place, Record
from gateway.hub.plan import Plan, plan
from gateway.hub.reference import Reference
from gateway.hub.remote import Remote
from gateway.hub.reports import Done, Planned, Report, Retrying, Verified, Verifying, Waiting
from gateway.hub.retries import patiently
from gateway.units import shown_bytes


def silent(_: Report) -> None:
    """For those who do not want to know."""


class Puller:
    """pause: waits between tries."""

    def __init__(self, models_dir: Path, access: Access, pause: Pause = time.sleep) -> None:
        self._models_dir = models_dir
        self._access = access
        self._remote = Remote(access)
        self._pause = pause

    def pull(self, reference: Reference, tell: Tell = silent) -> Done:
        """Raises `HubError`. The last report is the result.

        Where the hub cannot be reached, what an earlier pull of the same reference brought will do.
        """
        place = Place(self._models_dir, reference.repo)
        try:
            listing = self._list(reference, tell, is_patient=not _is_usable(place, reference))
        except HubError as error:
            if error.code not in {"offline", "unreachable"}:
                raise
            done = _without_hub(place, reference, error)
        else:
            done = self._updated(place, reference, listing, tell)
        tell(done)
        return done

    def _updated(self, place: Place, reference: Reference, listing: Listing, tell: Tell) -> Done:
        """Nothing is written where all is as it should be: the folder may be read-only then."""
        chosen = plan(reference, listing.files)
        wanted = _record(reference, listing, chosen)
        if place.record(reference) == wanted and place.has(wanted):
            return done_of(place, wanted, 0)
        with writing(place.folder), place.locked(lambda: tell(Waiting(reference.repo))):
            return self._bring(place, reference, listing, chosen, tell)

    def _list(self, reference: Reference, tell: Tell, *, is_patient: bool) -> Listing:
        """Nobody waits for a hub that fails when there is something to go on with."""
        if self._access.offline:
            raise HubError("offline", "the hub is not asked, as this is the offline mode")

        def pause(error: Transient, seconds: float) -> None:
            if not is_patient:
                raise error
            tell(Retrying(reference.repo, error.message, seconds))
            self._pause(seconds)

        return patiently(lambda: self._remote.list_files(reference), pause)

    def _bring(
        self, place: Place, reference: Reference, listing: Listing, chosen: Plan, tell: Tell
    ) -> Done:
        old = place.record(reference)
        changed = [file for file in chosen.files if not _is_there(place, file, old, tell)]
        missing = [file for file in changed if not _is_whole(place, file)]
        missing_bytes = sum(_missing_bytes(place, file) for file in missing)
        tell(Planned([f.path for f in chosen.files], total_bytes(chosen.files), missing_bytes))
        self._check_room(missing_bytes)
        fetcher = Fetcher(self._remote, reference.repo, listing.commit, tell, self._pause)
        for file in missing:
            fetcher.fetch(file, place.partial(file), place.whole(file))
        land(place, chosen, changed, tell)
        record = _record(reference, listing, chosen)
        place.keep(reference, record)
        remove_stale(place, chosen, old)
        place.forget_partial()
        return done_of(place, record, missing_bytes)

    def _check_room(self, num_bytes: int) -> None:
        free = shutil.disk_usage(self._models_dir).free
        if num_bytes > free:
            raise HubError(
                "disk_full",
                f"{shown_bytes(num_bytes)} have to come, and {self._models_dir} has room for "
                f"{shown_bytes(free)}",
            )


def done_of(place: Place, record: Record, fetched_bytes: int, *, is_checked: bool = True) -> Done:
    return Done(
        model="/".join(filter(None, (place.repo, record.model))),
        repo=place.repo,
        revision=record.revision,
        commit=record.commit,
        path=str(place.folder / record.marker if record.model else place.folder),
        files=[file.path for file in record.files],
        total_bytes=record.total_bytes,
        fetched_bytes=fetched_bytes,
        is_checked=is_checked,
    )


def _without_hub(place: Place, reference: Reference, error: HubError) -> Done:
    record = place.record(reference)
    if record and _is_usable(place, reference):
        return done_of(place, record, 0, is_checked=False)
    raise HubError(error.code, f"{reference} is not here, and {error.message}") from None


def _is_usable(place: Place, reference: Reference) -> bool:
    """Whether what an earlier pull of the same brought is still there."""
    record = place.record(reference)
    return bool(record and record.revision == reference.revision and place.has(record))


def _is_there(place: Place, file: RemoteFile, old: Record | None, tell: Tell) -> bool:
    """By what an earlier pull wrote down, or else by its content."""
    path = place.folder / file.path
    if not path.is_file() or path.stat().st_size != file.num_bytes:
        return False
    if old and (known := next((kept for kept in old.files if kept.path == file.path), None)):
        return known.key == file.key
    tell(Verifying(file.path))
    if is_intact(path, file):
        tell(Verified(file.path))
        return True
    return False


def _is_whole(place: Place, file: RemoteFile) -> bool:
    path = place.whole(file)
    return path.is_file() and path.stat().st_size == file.num_bytes


def _missing_bytes(place: Place, file: RemoteFile) -> int:
    path = place.partial(file)
    present = path.stat().st_size if path.is_file() else 0
    return file.num_bytes - present if present <= file.num_bytes else file.num_bytes


def _record(reference: Reference, listing: Listing, chosen: Plan) -> Record:
    files = [Kept(file.path, file.num_bytes, file.key) for file in chosen.files]
    return Record(reference.revision, listing.commit, chosen.model_name, chosen.marker, files)
