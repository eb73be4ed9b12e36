"""The cache of llama.cpp before it took to Hugging Face's: one folder of files with long names.

`manifest=org=name=tag.json` tells of a pull; what came of it lies beside it as `org_name_file.gguf`,
with underscores for the slashes of the path.
"""

from collections.abc import Mapping
from pathlib import Path

from gateway.catalog.scan import Found, stamp_of
from gateway.catalog.stores.listing import files_under
from gateway.hub import gguf


def find(root: Path) -> list[Found]:
    """Files of a repository that a manifest names as `org/name:tag`, others by their own names."""
    files = tuple(file for file in files_under(root, root) if "/" not in file.path)
    repos = dict(filter(None, (_repo(file.path) for file in files)))
    found: list[Found] = []
    for model in gguf.models(files):
        parts = [root / part.path for part in model.parts]
        if stamp := stamp_of(parts):
            model_id = _id(model, repos)
            found.append(Found(model_id, model.base, parts[0], stamp, "llamacpp"))
    return found


def _id(model: gguf.GgufModel, repos: Mapping[str, str]) -> str:
    """Of two repositories of which one's name begins like the other's, the longer fits better."""
    prefix = max((prefix for prefix in repos if model.base.startswith(prefix)), key=len, default="")
    if not prefix:
        return model.base
    return f"{repos[prefix]}:{model.tag or model.base.removeprefix(prefix)}"


def _repo(name: str) -> tuple[str, str] | None:
    """How the names of a repository's files begin, and the repository; None of no manifest."""
    kind, *parts = name.removesuffix(".json").split("=")
    if kind != "manifest" or len(parts) != 3 or not name.endswith(".json"):
        return None
    organisation, repository, _ = parts
    return f"{organisation}_{repository}_", f"{organisation}/{repository}"
