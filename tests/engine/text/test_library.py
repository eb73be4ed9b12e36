from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.api import EngineError, TextSource
from engine.checkpoint import open_checkpoint
from engine.text import library as library_module
from engine.text.library import Library


@pytest.fixture
def source(family_folder):
    """Describes a fixture as the gateway would."""

    def make(family: str) -> TextSource:
        path = next(iter(sorted(Path(family_folder(family)).glob("*.gguf"))))
        return TextSource(str(path), open_checkpoint(path).digest, vocab_size=368)

    return make


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of the checkpoints that were opened, in order."""
    names = []

    def open_and_tell(path: Path):
        names.append(path.name)
        return open_checkpoint(path)

    monkeypatch.setattr(library_module, "open_checkpoint", open_and_tell)
    return names


def test_what_many_ask_for_is_read_once(source, opened, tmp_path):
    """Two requests for a cold model do not parse its vocabulary twice."""
    library, wanted = Library(tmp_path), source("llama-plain")

    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(library.get, [wanted] * 8))

    assert len(opened) == 1
    assert all(model is models[0] for model in models)
    assert models[0].templates["default"]


def test_the_least_recent_is_forgotten_first(source, opened, tmp_path):
    """Memory is bounded; use keeps a model."""
    library = Library(tmp_path, max_kept=2)
    first, second, third = map(source, ("llama-plain", "llama-bf16", "gemma3-swa"))

    for wanted in (first, second, first, third):
        library.get(wanted)

    assert library.kept(first.digest) is not None
    assert library.kept(second.digest) is None
    assert library.kept(third.digest) is not None


def test_a_changed_file_is_not_taken_for_the_old_one(source, tmp_path):
    """The tokenizer must be that of the weights that were loaded."""
    wanted = source("llama-plain")
    stale = TextSource(wanted.path, "0" * 64, wanted.vocab_size)

    with pytest.raises(EngineError, match="changed") as caught:
        Library(tmp_path).get(stale)

    assert caught.value.code == "bad_checkpoint"


def test_a_failed_read_is_tried_again(source, tmp_path):
    """A missing file is no lasting verdict."""
    wanted = source("llama-plain")
    copy = tmp_path / "model.gguf"
    moved = TextSource(str(copy), wanted.digest, wanted.vocab_size)
    library = Library(tmp_path / "cache")

    with pytest.raises(EngineError):
        library.get(moved)
    copy.write_bytes(Path(wanted.path).read_bytes())

    assert library.get(moved).tokenizer.vocab_size
