import re
from pathlib import Path

from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.folder import PICKLE_SUFFIXES
from engine.checkpoint.gguf import GGUFCheckpoint
from engine.checkpoint.safetensors import SafetensorsCheckpoint

_OLLAMA_BLOB = re.compile(r"sha256-[0-9a-f]{64}")
"""Ollama's name of a file, whatever it is; that of a model is a whole GGUF."""


def open_checkpoint(path: Path) -> GGUFCheckpoint | SafetensorsCheckpoint:
    """Opens a `.gguf` file (of a split one: the first part) or a folder with safetensors.

    A file of Ollama's store has no suffix, and is one model too.

    Reads headers only, in bounded time and memory; maps nothing. Raises `CheckpointError`.
    """
    if path.suffix.lower() == ".gguf" or _OLLAMA_BLOB.fullmatch(path.name):
        return GGUFCheckpoint(path)
    if _is_folder(path):
        return SafetensorsCheckpoint(path)
    if path.suffix in PICKLE_SUFFIXES:
        what = "is a pickled checkpoint, which could run code: refused; convert to safetensors"
    elif path.suffix == ".safetensors":
        what = "belongs to a folder with its config.json: open the folder"
    else:
        what = "is neither a .gguf file nor a folder with safetensors"
    raise CheckpointError(f"{path.name}: {what}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a path too long, one we may not look at, or one with a NUL
        return False
