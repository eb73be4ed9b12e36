"""First and later loads of models from their images: seconds, and bytes of the image per second.

    python bench/image.py smollm2 gemma 1b-q4_k_m

"first": the image is built; "again": it is mapped and verified, its file in memory; "cold": the
same, its file dropped from memory before (the host's own cache is beyond us).
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from figures import Row, Spread, markdown
from machine import load_average, read_bandwidth
from model_files import path_of

from engine.checkpoint import open_checkpoint
from engine.core.device import compute_dtype, num_threads
from engine.residency.image import Image, open_image
from engine.residency.image_store import ImageStore


def load(path: Path, store: ImageStore) -> tuple[float, Image]:
    """Seconds from the checkpoint's path to a model that is ready to run, which is dropped again."""
    began = time.perf_counter()
    with open_checkpoint(path) as checkpoint:
        _, image = open_image(checkpoint, compute_dtype("auto"), store)
    seconds = time.perf_counter() - began
    store.wait()  # for the disk, which a first load does not wait for
    return seconds, image


def forget(path: Path) -> None:
    """Drops a file's pages from memory. They must be on the disk first."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(name: str, rounds: int, folder: Path) -> list[Row]:
    """Each round begins without an image."""
    path, store = path_of(name), ImageStore(folder)
    kinds: dict[str, Callable[[Path], None]] = {
        "first": lambda image: image.unlink(),
        "again": lambda _: None,
        "cold": forget,
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    _, image = load(path, store)  # brings the checkpoint into memory
    if image.path is None:
        raise SystemExit(f"{folder} takes no image; see the log above")
    for _ in range(rounds):
        for kind, prepare in kinds.items():
            prepare(image.path)
            took, loaded = load(path, store)
            assert loaded.was_built == (kind == "first"), "images are built once"
            seconds[kind].append(took)
    return [_row(name, kind, image, Spread.of(taken)) for kind, taken in seconds.items()]


def _row(name: str, kind: str, image: Image, taken: Spread) -> Row:
    return {
        "model": name,
        "load": kind,
        "image MB": round(image.nbytes / 1e6),
        "seconds": str(taken),
        "GB/s": round(image.nbytes / 1e9 / taken.median, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["smollm2", "gemma"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where images are made (a temporary one)")
    args = parser.parse_args()
    torch.set_num_threads(num_threads())
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        rows = [row for name in args.models for row in measure(name, args.rounds, folder)]
    finally:
        shutil.rmtree(folder)
    print(markdown(rows))
    print(f"\nmemory {read_bandwidth() / 1e9:.0f} GB/s, load average {load_average():.1f}")


if __name__ == "__main__":
    main()
