import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from engine.api import EngineError, TextSource
from engine.checkpoint import open_checkpoint
from engine.text.fill import Filler, find_filler
from engine.text.store import default_folder, load_tokenizer
from engine.text.template import Templates, find_templates
from engine.text.tokenizer import Tokenizer

MAX_KEPT = 32


@dataclass(frozen=True, slots=True)
class TextModel:
    """All of a checkpoint that has to do with text.

    templates: the checkpoint's, by name. filler: None where no tokens mark a gap.
    """

    tokenizer: Tokenizer
    templates: Templates
    filler: Filler | None = None


class Library:
    """The text side of checkpoints, the most recent kept in memory.

    It outlives their models' evictions, so that a swap parses nothing. Safe to use from several
    threads; what two ask for at once is read once.
    """

    def __init__(self, cache_folder: Path | None = None, max_kept: int = MAX_KEPT) -> None:
        self._cache_folder = cache_folder if cache_folder is not None else default_folder()
        self._max_kept = max_kept
        self._kept: OrderedDict[str, TextModel] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, source: TextSource) -> TextModel:
        """Blocks while a checkpoint is read for the first time. Raises `EngineError`."""
        with self._guard:
            lock = self._reading.setdefault(source.digest, threading.Lock())
        with lock:
            model = self.kept(source.digest)
            if model is None:
                model = self._read(source)
                self._keep(source.digest, model)
            return model

    def kept(self, digest: str) -> TextModel | None:
        """The model's text side if it is in memory."""
        with self._guard:
            if digest in self._kept:
                self._kept.move_to_end(digest)
            return self._kept.get(digest)

    def _keep(self, digest: str, model: TextModel) -> None:
        with self._guard:
            self._kept[digest] = model
            while len(self._kept) > self._max_kept:
                oldest, _ = self._kept.popitem(last=False)
                self._reading.pop(oldest, None)

    def _read(self, source: TextSource) -> TextModel:
        with open_checkpoint(Path(source.path)) as checkpoint:
            if checkpoint.digest != source.digest:
                message = f"{checkpoint.path.name} has changed since it was inspected"
                raise EngineError("bad_checkpoint", message)
            tokenizer = load_tokenizer(checkpoint, self._cache_folder)
            filler = find_filler(checkpoint, tokenizer)
            return TextModel(tokenizer, find_templates(checkpoint), filler)
