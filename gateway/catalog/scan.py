"""Finds checkpoints in a folder by the names of files alone; nothing is opened."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.config import Preset
from gateway.config.discovery import StoreName
from gateway.hub.gguf import is_model

MAX_DEPTH = 8
MAX_ENTRIES = 100_000

Source = Literal["models"] | StoreName
"""Where a checkpoint lies: in the models folder, or in another program's store."""

_SPLIT = re.compile(r"-(?P<part>\d{5})-of-\d{5}$")
_SUFFIX = ".gguf"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Changes when the files do, so that what is known of them is looked up again."""

    num_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint's place, and its id before collisions are settled.

    long_id: the id with what was left off, which serves when two files want the same short one.
    presets: by name, what its store says of it beside the weights; of its own id too.
    """

    id: str
    long_id: str
    path: Path
    stamp: Stamp
    source: Source = "models"
    presets: tuple[tuple[str, Preset], ...] = ()


def find_checkpoints(root: Path) -> list[Found]:
    """GGUF files (of split ones the first), and folders of safetensors with their config.json.

    Links are followed, since people link models in; a link that leads back is walked once. Hidden
    names are skipped, and GGUF files that are no models. Depth and number of entries are bounded. Sorted by id.
    """
    found: list[Found] = []
    num_entries = 0
    for folder, names in _walk(root):
        num_entries += 1 + len(names)
        if num_entries > MAX_ENTRIES:
            break
        found += _ggufs(root, folder, names)
        found += _safetensors(root, folder, names)
    return sorted(found, key=lambda checkpoint: checkpoint.id)


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder at most `MAX_DEPTH` deep with the names of its files."""
    visited: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = (
            sorted(f for f in folders if not f.startswith(".")) if depth < MAX_DEPTH else []
        )
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def _ggufs(root: Path, folder: Path, names: list[str]) -> Iterator[Found]:
    for name in names:
        if not is_model(name):
            continue
        stem = name[: -len(_SUFFIX)]
        split = _SPLIT.search(stem)
        if split and int(split["part"]) != 1:
            continue
        base = _SPLIT.sub("", stem)
        parts = [n for n in names if n.startswith(f"{base}-")] if split else [name]
        if stamp := stamp_of([folder / part for part in parts]):
            prefix = folder.relative_to(root)
            yield Found(
                (prefix / base).as_posix(), (prefix / name).as_posix(), folder / name, stamp
            )


def _safetensors(root: Path, folder: Path, names: list[str]) -> Iterator[Found]:
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights or "config.json" not in names:
        return
    if stamp := stamp_of([folder / name for name in [*weights, "config.json"]]):
        relative = folder.relative_to(root).as_posix()
        model_id = root.resolve().name if relative == "." else relative
        yield Found(model_id, f"{model_id}/", folder, stamp)


def stamp_of(files: list[Path]) -> Stamp | None:
    """None if one is gone again, is a link to nothing, or is no file that could be read."""
    try:
        statuses = [file.stat() for file in files]
    except OSError:
        return None
    if not all(stat.S_ISREG(status.st_mode) for status in statuses):
        return None
    return Stamp(sum(s.st_size for s in statuses), max(s.st_mtime_ns for s in statuses))
