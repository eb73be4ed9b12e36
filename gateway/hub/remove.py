"""Takes models out of the models folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.hub import gguf, safetensors
from gateway.hub.errors import HubError
from gateway.hub.fetch import writing
from gateway.hub.place import HIDDEN, Place, Record, drop_empty

_MODULE_DEPTH = 2
"""Of a folder's files: its own, and those of sentence-transformers' modules."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes with a model. num_bytes: of disk that is free again."""

    files: tuple[Path, ...]
    num_bytes: int


def removal_of(models_dir: Path, path: Path) -> Removal:
    """What removing a checkpoint, a GGUF file or a folder of safetensors, would take.

    Only the model's own files: others in its folder stay. Raises `HubError` for a path that does not
    lie in the models folder, or only as a link: what it leads to belongs to someone else.
    """
    root = models_dir.resolve()
    if not path.absolute().is_relative_to(models_dir.absolute()) or (
        path.resolve() != root and root not in path.resolve().parents
    ):
        text = f"{path} does not lie in {models_dir}: remove it where it came from"
        raise HubError("outside", text)
    files = tuple(sorted(_files(path)))
    return Removal(files, sum(_allocated(file) for file in files))


def remove(models_dir: Path, path: Path) -> Removal:
    """Removes it, and folders that are empty then. Raises `HubError`."""
    removal = removal_of(models_dir, path)
    folder = path if path.is_dir() else path.parent
    with writing(folder):
        owner = owner_of(models_dir, path)
        if owner is None:
            _unlink(removal.files)
        else:
            place = Place(models_dir, owner)
            with place.locked(lambda: None):
                _unlink(removal.files)
                _forget(place, removal.files)
        for emptied in sorted({folder, *(f.parent for f in removal.files)}, reverse=True):
            drop_empty(emptied, models_dir)
    return removal


def owner_of(models_dir: Path, path: Path) -> str | None:
    """The repository, as org/name, that a path lies in; None if it was put there by hand.

    Told by what a pull leaves beside.
    """
    parts = path.absolute().relative_to(models_dir.absolute()).parts[:2]
    repo = "/".join(parts)
    return repo if len(parts) == 2 and (models_dir / repo / HIDDEN).is_dir() else None


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [p for p in path.parent.iterdir() if gguf.is_of_same(p.name, path.name)]
    found = (p for depth in range(1, _MODULE_DEPTH + 1) for p in path.glob("/".join("*" * depth)))
    return [p for p in found if _belongs(p.relative_to(path).as_posix()) and not p.is_dir()]


def _belongs(path: str) -> bool:
    return (
        safetensors.is_weights(path) or safetensors.is_companion(path) or path == safetensors.INDEX
    )


def _allocated(file: Path) -> int:
    """A file that another name leads to as well stays on the disk, as does what a link leads to."""
    status = file.lstat()
    return status.st_size if status.st_nlink == 1 else 0


def _unlink(files: Iterable[Path]) -> None:
    """Markers first, so that no scan sees half of it."""
    for file in sorted(files, key=lambda f: f.name != safetensors.CONFIG):
        file.unlink(missing_ok=True)


def _forget(place: Place, removed: Iterable[Path]) -> None:
    """What is written down of pulls that brought any of these."""
    gone = set(removed)
    for path, record in place.records().items():
        if gone & _paths(place, record):
            path.unlink()
    place.forget_partial()


def _paths(place: Place, record: Record) -> set[Path]:
    return {place.folder / file.path for file in record.files}
