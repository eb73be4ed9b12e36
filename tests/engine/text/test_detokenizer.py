import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.detokenizer import Detokenizer

KINDS = pytest.mark.parametrize(
    "family", ["llama-bf16", "llama-plain", "gemma3-swa", "rwkv7-goose"]
)


def pieces(tokenizer, ids, starts_text=False):
    detokenizer = Detokenizer(tokenizer, starts_text=starts_text)
    return [*map(detokenizer.push, ids), detokenizer.flush()]


@KINDS
def test_pieces_are_the_whole(family, fixture_tokenizer):
    """Any ids: the pieces together are all bytes decoded at once, control tokens left out."""
    tokenizer = fixture_tokenizer(family, "gguf")

    @given(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    def check(ids: list[int]) -> None:
        raw = b"".join(tokenizer.token_bytes(i) for i in ids if not tokenizer.is_control(i))
        assert "".join(pieces(tokenizer, ids)) == raw.decode(errors="replace")

    check()


@KINDS
def test_real_text_never_shows_half_a_character(family, fixture_tokenizer):
    """Of well-formed text no piece has a replacement character, and it comes back as it was."""
    tokenizer = fixture_tokenizer(family, "gguf")

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")))
    def check(text: str) -> None:
        ids = tokenizer.encode(text, add_bos=False, allow_special=False)
        found = pieces(tokenizer, ids, starts_text=True)
        assert not any("\ufffd" in piece for piece in found)
        assert "".join(found) == text

    check()


def test_the_space_before_a_word_is_kept_unless_the_text_starts(spaced):
    """What follows a prompt keeps its first space; what starts a text loses the one added."""
    ids = spaced.encode("hello", add_bos=False, allow_special=False)

    assert "".join(pieces(spaced, ids)) == " hello"
    assert "".join(pieces(spaced, ids, starts_text=True)) == "hello"


def test_only_one_space_is_dropped(spaced):
    """A text's own leading spaces are its own."""
    ids = spaced.encode("  hello", add_bos=False, allow_special=False)

    assert "".join(pieces(spaced, ids, starts_text=True)) == "  hello"


def test_an_unfinished_character_is_owned_up_to(byte_level):
    """Inside a character nothing is shown; what never gets finished is U+FFFD at the end."""
    first, *_ = byte_level.encode("🦙", add_bos=False, allow_special=False)
    detokenizer = Detokenizer(byte_level)

    assert detokenizer.push(first) == ""
    assert detokenizer.is_inside_character
    assert detokenizer.flush() == "\ufffd"
