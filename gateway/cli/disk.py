"""`roundhouse du`: what models and images of their weights take on disk."""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.folder import add_folder, read_folder
from gateway.cli.tables import Columns, Json, add_json, num_bytes, print_json, show

if TYPE_CHECKING:
    from gateway.catalog.scan import Found
    from gateway.config import Settings

COLUMNS: Columns = {
    "SIZE": lambda row: num_bytes(row["bytes"]),
    "MODEL": lambda row: str(row["model"]),
    "SOURCE": lambda row: str(row["source"]),
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "du",
        help="tell what models take on disk",
        description="Tells what models and images of their weights take on disk. No server is "
        "asked.",
    )
    add_folder(parser)
    parser.add_argument(
        "--stores", action="store_true", help="count what other programs have downloaded too"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    settings = read_folder(args)
    usage = usage_of(settings, with_stores=args.stores)
    if args.json:
        print_json(usage)
        return
    show(usage["models"], COLUMNS, as_json=False, if_empty=f"No models in {settings.models_dir}.")
    print(f"\n{num_bytes(sum(m['bytes'] for m in usage['models']))} of models.")
    if images := usage["images"]:
        print(f"{num_bytes(images['bytes'])} of images of weights in {images['folder']}.")
    for place in usage["free"]:
        print(f"{num_bytes(place['bytes'])} free in {place['folder']}.")


def usage_of(settings: "Settings", *, with_stores: bool) -> Json:
    """Models, the largest first; images; and what is free where they are."""
    found = _models(settings, with_stores=with_stores)
    rows = [{"model": i, "source": f.source, "bytes": f.stamp.num_bytes} for i, f in found.items()]
    images = image_folder(settings.image_cache)
    places = [settings.models_dir, *([images] if images else [])]
    return {
        "models": sorted(rows, key=lambda row: row["bytes"], reverse=True),
        "images": {"folder": str(images), "bytes": bytes_under(images)} if images else None,
        "free": [{"folder": str(p), "bytes": free} for p in places if (free := free_bytes(p))],
    }


def image_folder(setting: str) -> Path | None:
    """Where images of weights are, by the setting; None if they are not kept."""
    import os

    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roundhouse/images"


def bytes_under(folder: Path) -> int:
    """What files take on disk, which may be less than they are long."""
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file())


def free_bytes(folder: Path) -> int | None:
    """Of the file system that the folder is on, or would be."""
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.is_dir():
            return shutil.disk_usage(place).free
    return None


def _models(settings: "Settings", *, with_stores: bool) -> "dict[str, Found]":
    from gateway.catalog.names import settle_ids
    from gateway.catalog.stores import find_models, stores_of
    from gateway.config import Discovery

    every = Discovery(stores=["auto"], folders=settings.discovery.folders)
    try:
        return settle_ids(
            find_models(
                settings.models_dir, stores_of(every if with_stores else settings.discovery)
            )
        )
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
