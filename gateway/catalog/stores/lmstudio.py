"""LM Studio's folder: publisher/repository/file.gguf."""

from pathlib import Path

from gateway.catalog.scan import Found
from gateway.catalog.stores.listing import files_under, models_of


def find(root: Path) -> list[Found]:
    found: list[Found] = []
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir()):
        repo = folder.relative_to(root).as_posix()
        if not repo.startswith(".") and "/." not in repo:
            found += models_of(repo, folder, files_under(folder, root), "lmstudio")
    return found
