import os
import re
from itertools import islice
from pathlib import Path

from engine.checkpoint.errors import CheckpointError
from engine.checkpoint.source_file import SourceFile

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})
MAX_ENTRIES = 4096

_CONFIG = "config.json"
_DENSE = "_Dense"
_MODULE = re.compile(r"[0-9]{1,2}_[A-Za-z]{1,64}")


class ModelFolder:
    """A model's folder: files by their plain names, listed once.

    Links are followed (the Hugging Face cache is made of them); names with a path in them are not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Before the listing: what appears meanwhile changes it.
            status = path.stat()
            self.stamp = status.st_ino, status.st_size, status.st_mtime_ns
            with os.scandir(path) as entries:
                self.names = sorted(entry.name for entry in islice(entries, MAX_ENTRIES + 1))
        except OSError as error:
            raise self.error(f"cannot be read: {error.strerror}") from error
        if len(self.names) > MAX_ENTRIES:
            raise self.error(f"has more than {MAX_ENTRIES} entries, as no model's folder has")

    def error(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path.name}: {what}")

    def has(self, name: str) -> bool:
        return name in self.names

    def file(self, name: str) -> SourceFile:
        """The file of that name. Raises `CheckpointError` for a path instead of a name."""
        if name in {"", ".", ".."} or any(char in name for char in "/\\\0"):
            raise self.error(f"{name!r} is not the plain name of a file")
        return SourceFile(self.path / name)

    def module_configs(self) -> dict[str, SourceFile]:
        """`1_Pooling/config.json` and its like, by these names: sentence-transformers' modules."""
        paths = ((f"{name}/{_CONFIG}", self.path / name / _CONFIG) for name in self.names)
        found = {name: path for name, path in paths if _MODULE.fullmatch(path.parent.name)}
        return {name: SourceFile(path) for name, path in found.items() if path.is_file()}

    def module_tensors(self) -> dict[str, SourceFile]:
        """By folder, the tensors of sentence-transformers' matrices: `2_Dense/model.safetensors`."""
        names = (name for name in self.names if _MODULE.fullmatch(name) and name.endswith(_DENSE))
        found = {name: self.path / name / "model.safetensors" for name in names}
        return {name: SourceFile(path) for name, path in found.items() if path.is_file()}

    def why_no_model(self) -> str:
        """What to tell somebody who took this for a folder with safetensors."""
        missing = "has no model.safetensors (nor an index of shards)"
        suffixes = {Path(name).suffix for name in self.names}
        if suffixes & PICKLE_SUFFIXES:
            return f"{missing}; pickled weights (.bin, .pt) are refused: convert to safetensors"
        if ".gguf" in suffixes:
            return f"{missing}; to use a .gguf file in it, name that file"
        return missing
