"""Tokenizers of checkpoints; those that must be built are built once per machine."""

import os
import tempfile
from pathlib import Path

import structlog
import tokenizers

from engine.checkpoint import GGUFCheckpoint, SafetensorsCheckpoint
from engine.text import from_folder, from_gguf, rwkv
from engine.text.pipeline import PipelineTokenizer
from engine.text.tokenizer import Tokenizer

log = structlog.get_logger()

LAYOUT_VERSION = 2


def default_folder() -> Path:
    """Where built tokenizers are cached; safe to delete at any time."""
    root = os.environ.get("ROUNDHOUSE_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "roundhouse") / "tokenizers"


def load_tokenizer(checkpoint: GGUFCheckpoint | SafetensorsCheckpoint, folder: Path) -> Tokenizer:
    """The checkpoint's tokenizer. Blocks, for seconds where a large vocabulary has to be built.

    folder: the cache of built ones. Raises `EngineError` bad_checkpoint.
    """
    if isinstance(checkpoint, SafetensorsCheckpoint):
        if (greedy := rwkv.from_folder(checkpoint)) is not None:
            return greedy
        backend = from_folder.read_backend(checkpoint)
        return PipelineTokenizer(backend, from_folder.read_specials(checkpoint, backend))
    if rwkv.is_of(checkpoint.metadata):
        return rwkv.from_gguf(checkpoint.metadata)
    backend = _built_backend(checkpoint, folder / f"{checkpoint.digest}-v{LAYOUT_VERSION}.json")
    return PipelineTokenizer(backend, from_gguf.read_specials(checkpoint.metadata, backend))


def _built_backend(checkpoint: GGUFCheckpoint, path: Path) -> tokenizers.Tokenizer:
    cached = _read(path, checkpoint.metadata.count("tokenizer.ggml.tokens"))
    if cached is not None:
        return cached
    backend = from_gguf.build_backend(checkpoint.metadata)
    _write(path, backend)
    return backend


def _read(path: Path, num_tokens: int | None) -> tokenizers.Tokenizer | None:
    if not path.exists():
        return None
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception:  # noqa: BLE001 - the library raises bare Exception; we build it anew
        log.warning("tokenizer_cache_unreadable", path=str(path))
        return None
    return backend if backend.get_vocab_size(with_added_tokens=True) == num_tokens else None


def _write(path: Path, backend: tokenizers.Tokenizer) -> None:
    """Saves for the next time; a full or read-only disk costs only that."""
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            file.write(backend.to_str().encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        log.warning("tokenizer_cache_not_written", path=str(path), error=str(error))
        if temporary is not None:
            temporary.unlink(missing_ok=True)
