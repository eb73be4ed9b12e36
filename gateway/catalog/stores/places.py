"""Where each program keeps its models: what was set, its own environment variable, its default."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gateway.config import Discovery
from gateway.config.discovery import StoreName

_OLLAMA_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Of the service that its installer makes on Linux."""

Environ = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Store:
    name: StoreName
    folder: Path


def stores_of(
    discovery: Discovery, environ: Environ = os.environ, home: Path | None = None
) -> tuple[Store, ...]:
    """Those that are asked for, also where there is nothing yet, in the order in which they win.

    A folder that was set stands alone; otherwise a program may have kept models in several places.
    """
    wanted = discovery.stores
    names = get_args(StoreName) if "auto" in wanted else wanted
    found = []
    for name in dict.fromkeys(names):
        given = discovery.folders.get(name)
        folders = [given] if given else _PLACES[name](environ, home or Path.home())
        found += [Store(name, folder) for folder in dict.fromkeys(folders)]
    return tuple(found)


def _huggingface(environ: Environ, home: Path) -> Iterator[Path]:
    """See https://huggingface.co/docs/hub/local-cache."""
    if folder := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        yield Path(folder).expanduser()
    elif folder := environ.get("HF_HOME"):
        yield Path(folder).expanduser() / "hub"
    else:
        yield _cache(environ, home) / "huggingface" / "hub"


def _llamacpp(environ: Environ, home: Path) -> Iterator[Path]:
    """Of versions before they took to Hugging Face's cache (llama.cpp#20775)."""
    if folder := environ.get("LLAMA_CACHE"):
        yield Path(folder).expanduser()
    elif sys.platform == "darwin":
        yield home / "Library" / "Caches" / "llama.cpp"
    else:
        yield _cache(environ, home) / "llama.cpp"


def _ollama(environ: Environ, home: Path) -> Iterator[Path]:
    if folder := environ.get("OLLAMA_MODELS"):
        yield Path(folder).expanduser()
        return
    yield home / ".ollama" / "models"
    if _OLLAMA_SERVICE.is_dir():
        yield _OLLAMA_SERVICE


def _lmstudio(_: Environ, home: Path) -> Iterator[Path]:
    yield home / ".lmstudio" / "models"
    yield home / ".cache" / "lm-studio" / "models"  # before version 0.3.5


def _cache(environ: Environ, home: Path) -> Path:
    folder = environ.get("XDG_CACHE_HOME")
    return Path(folder) if folder else home / ".cache"


_PLACES: Mapping[StoreName, Callable[[Environ, Path], Iterator[Path]]] = {
    "huggingface": _huggingface,
    "llamacpp": _llamacpp,
    "ollama": _ollama,
    "lmstudio": _lmstudio,
}
