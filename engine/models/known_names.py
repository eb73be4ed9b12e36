"""Published models whose files leave out what their cards say, known by their names."""

from collections.abc import Iterator

from engine.checkpoint import (
    Checkpoint,
    CheckpointError,
    GGUFCheckpoint,
    SafetensorsCheckpoint,
)

MATRYOSHKA = ("qwen3-embedding", "nomic-embed-text-v1.5", "embeddinggemma", "embedding-gemma")
"""Trained so that a vector's first values are a good, shorter one."""

_MAX_README_BYTES = 2**20


def is_named(checkpoint: Checkpoint, *words: str) -> bool:
    """Whether one of the words is in the checkpoint's path, in what it calls itself or its readme's title.

    words: in small letters. A folder of Hugging Face's cache has its name two folders above.
    """
    return any(word in name.lower() for name in _names(checkpoint) for word in words)


def _names(checkpoint: Checkpoint) -> Iterator[str]:
    yield from checkpoint.path.parts[-3:]
    if isinstance(checkpoint, GGUFCheckpoint):
        found = (checkpoint.metadata.get(f"general.{key}", "") for key in ("name", "basename"))
        # spaces are the converter's: "Qwen3 Embedding 0.6B"
        yield from (str(name).replace(" ", "-") for name in found)
    if isinstance(checkpoint, SafetensorsCheckpoint):
        yield str(checkpoint.config.get("_name_or_path", ""))
        yield from (line for line in _readme(checkpoint).splitlines() if line.startswith("# "))


def _readme(checkpoint: SafetensorsCheckpoint) -> str:
    try:
        return checkpoint.read_text("README.md", _MAX_README_BYTES) or ""
    except CheckpointError:  # too long, or no UTF-8: no reason to refuse a model
        return ""
