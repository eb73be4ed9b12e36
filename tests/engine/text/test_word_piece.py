"""BERT's tokenizer from a list of tokens and from GGUF's, against the one of tokenizer.json."""

import json
from pathlib import Path

import pytest
import torch

from engine.checkpoint import open_checkpoint
from engine.text.from_gguf import build_backend, read_specials
from engine.text.pipeline import PipelineTokenizer
from engine.text.store import load_tokenizer
from engine.text.tokenizer import Tokenizer
from tests.engine.fixture_models import write_hf

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "cafe",
    "##s",
    "un",
    "##able",
    "!",
    "東",
]
KEY = "tokenizer.ggml."


def from_files(folder: Path) -> Tokenizer:
    write_hf(folder, {"model_type": "bert"}, {"x": torch.zeros(1)})
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    with open_checkpoint(folder) as checkpoint:
        return load_tokenizer(checkpoint, folder)


def from_gguf(_: Path) -> Tokenizer:
    metadata = {
        f"{KEY}model": "bert",
        f"{KEY}tokens": [_stored(word) for word in WORDS],
        f"{KEY}token_type": [3 if word.startswith("[") else 1 for word in WORDS],
        f"{KEY}unknown_token_id": 1,
        f"{KEY}bos_token_id": 2,
        f"{KEY}cls_token_id": 2,
        f"{KEY}seperator_token_id": 3,
    }
    backend = build_backend(metadata)
    return PipelineTokenizer(backend, read_specials(metadata, backend))


def _stored(word: str) -> str:
    """As llama.cpp's converter writes it."""
    if word.startswith("["):
        return word
    return word.removeprefix("##") if word.startswith("##") else f"\u2581{word}"


@pytest.fixture(params=[from_files, from_gguf])
def tokenizer(request, tmp_path) -> Tokenizer:
    return request.param(tmp_path / "model")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", [2, 5, 3]),
        ("A Cafés unable!", [2, 5, 6, 7, 8, 9, 10, 3]),
        ("a東a", [2, 5, 11, 5, 3]),
        ("xyz", [2, 1, 3]),
    ],
)
def test_words_become_the_longest_pieces(tokenizer, text, expected):
    """In small letters, without accents, between the tokens that the model wants."""
    assert tokenizer.encode(text, add_bos=True, allow_special=True) == expected


def test_two_texts_become_one_sequence(tokenizer):
    """The first with its separator, and how long that is."""
    assert tokenizer.encode_pair("a", "un!") == ([2, 5, 3, 8, 10, 3], 3)


def test_large_letters_stay_where_the_model_knows_them(tmp_path):
    """As tokenizer_config.json says."""
    folder = tmp_path / "cased"
    write_hf(folder, {"model_type": "bert"}, {"x": torch.zeros(1)})
    (folder / "vocab.txt").write_text("\n".join([*WORDS, "A"]))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    with open_checkpoint(folder) as checkpoint:
        cased = load_tokenizer(checkpoint, folder)

    assert cased.encode("A a", add_bos=False, allow_special=True) == [12, 5]
