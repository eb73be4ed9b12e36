import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint import open_checkpoint
from engine.text.store import load_tokenizer
from engine.text.tokenizer import Tokenizer
from tests.engine.fixture_models import fixture_root

FAMILIES = sorted(path.parent.name for path in fixture_root().glob("*/reference.json"))


def find_family(name: str) -> Path:
    """A fixture's folder: in the full set where it is there, else in what is committed of it."""
    folder = fixture_root() / name
    return folder if folder.exists() else pytest.skip(f"fixture {name} is not committed")


@cache
def _tokenizer(path: Path) -> Tokenizer:
    with tempfile.TemporaryDirectory() as cache:
        return load_tokenizer(open_checkpoint(path), Path(cache))


@pytest.fixture
def family_folder() -> Callable[[str], Path]:
    return find_family


@pytest.fixture
def fixture_tokenizer() -> Callable[[str, str], Tokenizer]:
    """A fixture's tokenizer, from "gguf" or from "hf"; skips where there is none of that form."""

    def load(name: str, form: str) -> Tokenizer:
        folder = find_family(name)
        if form == "hf" and name.endswith("-q"):
            pytest.skip(f"{name}: its hf folder holds no weights, so it is no checkpoint")
        path = folder / "hf" if form == "hf" else next(iter(sorted(folder.glob("*.gguf"))), None)
        return _tokenizer(path) if path else pytest.skip(f"{name} has no GGUF")

    return load


@pytest.fixture(params=FAMILIES)
def tokenizer_cases(request) -> tuple[str, list[dict[str, Any]]]:
    """Every family's name, and texts with the ids that transformers and llama.cpp agree on."""
    reference = json.loads((find_family(request.param) / "reference.json").read_text())
    cases = [case for case in reference.get("tokenizer_cases", []) if case["llama_cpp_same"]]
    return request.param, cases or pytest.skip("no tokenizer cases")


@pytest.fixture
def byte_level(fixture_tokenizer) -> Tokenizer:
    return fixture_tokenizer("llama-bf16", "gguf")


@pytest.fixture
def spaced(fixture_tokenizer) -> Tokenizer:
    """A SentencePiece tokenizer that puts a space before a text."""
    return fixture_tokenizer("llama-plain", "gguf")
