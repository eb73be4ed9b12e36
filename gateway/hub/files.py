"""A repository's files, as the hub lists them."""

import re
from dataclasses import dataclass

_PART = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """sha256: of a large file, which lies beside git. blob_id: git's name of any other's content.

    One of the two is there, so that what came can be checked.
    """

    path: str
    num_bytes: int
    sha256: str | None = None
    blob_id: str | None = None

    @property
    def key(self) -> str:
        """Names the content: a file of the same key need not be fetched again."""
        return self.sha256 or self.blob_id or ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit, which its files are then fetched from."""

    commit: str
    files: tuple[RemoteFile, ...]


def is_safe(path: str) -> bool:
    """Whether a path stays in its folder. Hidden names are refused: we keep things under one."""
    return len(path) < 1024 and all(_PART.fullmatch(part) for part in path.split("/"))


def total_bytes(files: tuple[RemoteFile, ...]) -> int:
    return sum(file.num_bytes for file in files)
