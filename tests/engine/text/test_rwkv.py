import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.api import EngineError
from engine.checkpoint import open_checkpoint
from engine.text import rwkv
from engine.text.greedy import GreedyTokenizer
from engine.text.store import load_tokenizer
from tests.engine.fixture_models import write_hf

PIECES = [*(bytes([byte]) for byte in range(256)), "é".encode(), b"\n\n", b"User", b"it's", b'"\\"']


def literal(piece: bytes) -> str:
    """As the vocabulary file has it: text where it is some, else bytes."""
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)


def lines(pieces: list[bytes]) -> list[str]:
    return [f"{i} {literal(piece)} {len(piece)}" for i, piece in enumerate(pieces, start=1)]


def metadata(**changes: Any) -> dict[str, Any]:
    """What llama.cpp's converter writes: the end, the tokens, and some that only fill up."""
    tokens = ["<s>", *(repr(piece)[2:-1] for piece in PIECES), "[PAD262]", "[PAD263]"]
    facts = {
        "model": "rwkv",
        "tokens": tokens,
        "token_type": [3, *[1] * len(PIECES), 5, 5],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "eot_token_id": 258,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (facts | changes).items()}


@pytest.fixture
def folder(tmp_path) -> Callable[..., GreedyTokenizer]:
    """The tokenizer of a folder with a vocabulary file of such text."""

    def load(text: str, **config: Any) -> GreedyTokenizer:
        path = write_hf(tmp_path / "model", {"eos_token_id": 0}, {"x": torch.zeros(1)})
        (path / rwkv.VOCABULARY_FILE).write_bytes(text.encode())
        (path / "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = load_tokenizer(open_checkpoint(path), tmp_path)
        assert isinstance(tokenizer, GreedyTokenizer)
        return tokenizer

    return load


def test_both_sources_give_the_same(folder):
    """Bytes, ids, and what ends a generation."""
    from_file, from_gguf = folder("\n".join(lines(PIECES))), rwkv.from_gguf(metadata())

    assert [from_file.token_bytes(i) for i in range(262)] == [b"<s>", *PIECES]
    assert [from_gguf.token_bytes(i) for i in range(264)] == [b"<s>", *PIECES, b"", b""]
    assert from_file.stop_ids == from_gguf.stop_ids == {0, 258}
    assert from_file.bos_token == from_gguf.eos_token == "<s>"
    assert not from_file.add_bos
    assert not from_gguf.add_bos


def test_a_folder_may_want_a_bos_and_call_it_its_way(folder):
    """As its tokenizer_config.json says."""
    tokenizer = folder("\n".join(lines(PIECES)), add_bos_token=True, eos_token="<|end|>")

    assert tokenizer.encode("User<|end|>", add_bos=True, allow_special=True) == [0, 259, 0]


def test_windows_line_ends_and_a_last_one_are_fine():
    """Files get copied through anything."""
    assert rwkv.read_vocabulary("1 'a' 1\r\n2 b'\\xff' 1\r\n") == {1: b"a", 2: b"\xff"}


def test_every_repr_is_read():
    """Whatever bytes a token is of, in either kind of literal."""

    @given(st.lists(st.binary(min_size=1, max_size=20) | st.text(min_size=1).map(utf8), min_size=1))
    def check(pieces: list[bytes]) -> None:
        read = rwkv.read_vocabulary("\n".join(lines(pieces)))
        assert list(read.values()) == pieces
        assert [rwkv.unescaped(repr(piece)[2:-1], is_bytes=True) for piece in pieces] == pieces

    check()


def utf8(text: str) -> bytes:
    return text.encode(errors="replace")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x 'a' 1",
        "2 'a'",
        "2 a 1",
        "2 'a' 2",
        "0 'a' 1",
        "9999999 'a' 1",
        "1 'b' 1",
        "2 'a\" 1",
        "2 'a'b' 3",
        r"2 '\' 1",
        r"2 '\q' 2",
        r"2 '\xg0' 4",
        r"2 '\ud800' 3",
        r"2 '\U00110000' 4",
        "2 b'é' 1",
        "2 __import__('os') 1",
        "2 'a' + 'b' 2",
        f"2 {'(' * 5000}1 1",
    ],
)
def test_broken_lines_are_refused(line):
    """With the line's number; nothing in a file is evaluated."""
    with pytest.raises(EngineError, match="line 2: ") as caught:
        rwkv.read_vocabulary(f"1 'z' 1\n{line}\n3 'y' 1\n")

    assert caught.value.code == "bad_checkpoint"


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": None},
        {"tokens": ["<s>", "a"], "token_type": [3, 1]},
        {"tokens": [*metadata()["tokenizer.ggml.tokens"][:-2], r"\q", "x"]},
        {"token_type": [3] + [1] * 263, "tokens": ["<s>", *["a"] * 263]},
    ],
)
def test_tables_that_are_none_are_refused(changes):
    """Missing, without all bytes, with an escape that is none, or twice the same."""
    changed = changes | ({"token_type": [3] + [1] * 263} if len(changes) == 1 else {})

    with pytest.raises(EngineError) as caught:
        rwkv.from_gguf(metadata(**changed))

    assert caught.value.code == "bad_checkpoint"


@pytest.mark.parametrize("family", ["rwkv6-finch", "rwkv7-goose"])
def test_a_file_and_its_gguf_agree(family, fixture_tokenizer):
    """On any text, as the fixtures have both."""
    forms = [fixture_tokenizer(family, form) for form in ("gguf", "hf")]

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def check(text: str) -> None:
        first, second = (form.encode(text, add_bos=True, allow_special=True) for form in forms)
        assert first == second

    check()
    assert forms[0].stop_ids == forms[1].stop_ids == {0, 261}
