from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.checkpoint import open_checkpoint
from engine.text import from_gguf
from engine.text.store import LAYOUT_VERSION, default_folder, load_tokenizer

TEXT = "<s>Hello 🦙\n"


@pytest.fixture
def checkpoint(family_folder):
    return open_checkpoint(family_folder("llama-plain") / "llama-plain-F32.gguf")


def ids(tokenizer):
    return tokenizer.encode(TEXT, add_bos=True, allow_special=True)


def refuse_to_build(metadata):
    raise AssertionError("built again")


def test_a_built_tokenizer_is_read_the_next_time(checkpoint, tmp_path, monkeypatch):
    """The cache gives the same tokenizer, special tokens and all, without building it."""
    built = load_tokenizer(checkpoint, tmp_path / "new")
    monkeypatch.setattr(from_gguf, "build_backend", refuse_to_build)
    cached = load_tokenizer(checkpoint, tmp_path / "new")

    assert ids(cached) == ids(built)
    assert cached.stop_ids == built.stop_ids
    assert [cached.token_bytes(i) for i in range(cached.vocab_size)] == [
        built.token_bytes(i) for i in range(built.vocab_size)
    ]
    name = f"{checkpoint.digest}-v{LAYOUT_VERSION}.json"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b'{"version": "1.0"}', b"\xff\xfe"])
def test_an_unreadable_cache_is_built_anew(checkpoint, tmp_path, damage):
    """Whatever happened to the file, the answer is right and the file is whole again."""
    expected = ids(load_tokenizer(checkpoint, tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)

    with capture_logs() as logs:
        found = load_tokenizer(checkpoint, tmp_path)

    assert ids(found) == expected
    assert [line["event"] for line in logs] == ["tokenizer_cache_unreadable"]
    assert path.stat().st_size > len(damage)


def test_a_cache_that_cannot_be_written_costs_only_time(checkpoint, tmp_path):
    """A file where the folder should be: the tokenizer still comes."""
    blocked = tmp_path / "file"
    blocked.write_text("")

    with capture_logs() as logs:
        tokenizer = load_tokenizer(checkpoint, blocked)

    assert ids(tokenizer)
    assert [line["event"] for line in logs] == ["tokenizer_cache_not_written"]


def test_the_cache_lies_where_the_operator_says(monkeypatch):
    """`ROUNDHOUSE_CACHE`, else the user's cache folder."""
    monkeypatch.setenv("ROUNDHOUSE_CACHE", "/somewhere")
    assert default_folder() == Path("/somewhere/tokenizers")

    monkeypatch.delenv("ROUNDHOUSE_CACHE")
    assert default_folder() == Path.home() / ".cache/roundhouse/tokenizers"
