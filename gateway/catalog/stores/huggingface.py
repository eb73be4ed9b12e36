"""Hugging Face's cache: models--org--name/{refs,snapshots,blobs}, snapshots made of links.

The layout is https://huggingface.co/docs/hub/local-cache. Newer llama.cpp keeps its models here too.
"""

import re
from pathlib import Path

from gateway.catalog.scan import Found
from gateway.catalog.stores.listing import files_under, models_of

_PREFIX = "models--"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def find(root: Path) -> list[Found]:
    """What each repository's `main` has, or its newest snapshot where nobody asked for main."""
    found: list[Found] = []
    for folder in sorted(root.glob(f"{_PREFIX}*")):
        if snapshot := _snapshot(folder):
            repo = folder.name.removeprefix(_PREFIX).replace("--", "/", 1)
            files = files_under(snapshot, root)
            found += models_of(repo, snapshot, files, "huggingface")
    return found


def _snapshot(folder: Path) -> Path | None:
    try:
        commit = (folder / "refs" / "main").read_text()[:64].strip()
    except (OSError, UnicodeDecodeError):
        commit = ""
    if _COMMIT.fullmatch(commit) and (main := folder / "snapshots" / commit).is_dir():
        return main
    snapshots = [path for path in (folder / "snapshots").glob("*") if _COMMIT.fullmatch(path.name)]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)
