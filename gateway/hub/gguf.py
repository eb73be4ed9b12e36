"""The GGUF models among a repository's files: parts of split ones together, by quantisation."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from gateway.hub.files import RemoteFile

SUFFIX = ".gguf"

_SPLIT = re.compile(r"-(?P<part>\d{5})-of-(?P<count>\d{5})$")
_TAG = re.compile(
    r"(?:^|[-._])(?P<tag>(?:UD-)?(?:I?Q\d\w*|TQ\d\w*|MXFP\d\w*|NVFP\d\w*|BF16|F16|F32|FP16|FP32))$",
    re.IGNORECASE | re.ASCII,
)
_COMPANION = re.compile(r"^(?:mmproj|imatrix)|[-._](?:mmproj|imatrix)", re.IGNORECASE)
"""Projectors of images and statistics: GGUF files that are no models."""


@dataclass(frozen=True, slots=True)
class GgufModel:
    """parts: in their order. tag: its quantisation by its name; empty if that says none."""

    base: str
    parts: tuple[RemoteFile, ...]
    tag: str


def models(files: tuple[RemoteFile, ...]) -> list[GgufModel]:
    """Those that are whole, by name."""
    groups: dict[str, list[RemoteFile]] = defaultdict(list)
    for file in sorted(files, key=lambda file: file.path):
        name = PurePosixPath(file.path).name
        if is_model(name):
            groups[base_of(file.path)].append(file)
    return [
        GgufModel(base, tuple(parts), tag_of(base))
        for base, parts in groups.items()
        if _is_whole(parts)
    ]


def matching(found: list[GgufModel], choice: str) -> list[GgufModel]:
    """By file, else by quantisation exactly, else by its end: Q4_K_XL is also UD-Q4_K_XL.

    Without regard to case.
    """
    wanted = choice.casefold()
    ways = (
        lambda m: wanted in {part.path.casefold() for part in m.parts},
        lambda m: wanted in {m.base.casefold(), PurePosixPath(m.parts[0].path).name.casefold()},
        lambda m: m.tag.casefold() == wanted,
        lambda m: m.tag.casefold().endswith(f"-{wanted}"),
    )
    return next((hits for way in ways if (hits := [m for m in found if way(m)])), [])


def is_model(name: str) -> bool:
    """Whether a file of that name holds a model, or a part of one."""
    return name.lower().endswith(SUFFIX) and not _COMPANION.search(name)


def base_of(path: str) -> str:
    """The path without suffix and part: what the catalog calls the model in its folder."""
    return _SPLIT.sub("", path[: -len(SUFFIX)])


def is_of_same(name: str, other: str) -> bool:
    """Whether two files are one, or parts of one model."""
    if not name.lower().endswith(SUFFIX) or base_of(name) != base_of(other):
        return False
    return name == other or (_is_part(name) and _is_part(other))


def _is_part(name: str) -> bool:
    return bool(_SPLIT.search(name[: -len(SUFFIX)]))


def tag_of(base: str) -> str:
    """From the file's name or, where that says none, from its folder's."""
    for name in reversed(PurePosixPath(base).parts):
        if found := _TAG.search(name):
            return found["tag"]
    return ""


def _is_whole(parts: list[RemoteFile]) -> bool:
    """One file alone, or all that the first one counts."""
    split = _SPLIT.search(parts[0].path[: -len(SUFFIX)])
    return len(parts) == (int(split["count"]) if split else 1)
