"""The files of a repository that lies in somebody's store."""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gateway.catalog.scan import Found, Source, stamp_of
from gateway.hub import gguf, safetensors
from gateway.hub.files import RemoteFile

MAX_FILES = 4096
MAX_DEPTH = 3

_SHARD = re.compile(r"-\d{5}-of-(?P<count>\d{5})\.safetensors$")


def files_under(folder: Path, store: Path) -> tuple[RemoteFile, ...]:
    """Files at most `MAX_DEPTH` deep, by their paths in `folder`; hidden ones are left out.

    Links are followed if they lead to a file within `store`: whoever may write a store must not
    have this server read what else it can read.
    """
    paths = (path for path in islice(_walk(folder), MAX_FILES) if is_within(path, store))
    files = [
        RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in paths
        if path.is_file()
    ]
    return tuple(sorted(files, key=lambda file: file.path))


def is_within(path: Path, store: Path) -> bool:
    """Whether what a path leads to lies in the store."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(store))


def models_of(
    repo: str, folder: Path, files: tuple[RemoteFile, ...], source: Source
) -> Iterator[Found]:
    """The safetensors as `repo`, and each GGUF as `repo:tag`; only those that are whole.

    The tag is the quantisation, as the file's name says it, or else the name.
    """
    chosen = [file.path for file in safetensors.choose(files)]
    if chosen and _is_whole(chosen) and (stamp := stamp_of([folder / name for name in chosen])):
        yield Found(repo, f"{repo}:safetensors", folder, stamp, source)
    for model in gguf.models(files):
        parts = [folder / part.path for part in model.parts]
        if stamp := stamp_of(parts):
            tag = model.tag or model.base.rsplit("/", 1)[-1]
            yield Found(f"{repo}:{tag}", f"{repo}:{model.base}", parts[0], stamp, source)


def _is_whole(names: list[str]) -> bool:
    """Whether all shards are there that one of them counts."""
    shards = [shard for name in names if (shard := _SHARD.search(name))]
    return not shards or len(shards) == int(shards[0]["count"])


def _walk(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = shown if depth < MAX_DEPTH - 1 else []
        yield from (Path(path) / name for name in sorted(names) if not name.startswith("."))
