import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.detokenizer import Detokenizer
from engine.text.greedy import GreedyTokenizer
from engine.text.tokenizer import Specials
from tests.engine.text.hard_corpus import hard_corpus

BYTES = {1 + byte: bytes([byte]) for byte in range(256)}
PIECES = BYTES | dict(
    enumerate(
        [
            *(b"ab", b"abcde", b"bc", b"cdefgh", b"  ", b"    ", b"\n\n", b"\xf0\x9f"),
            *("é".encode(), "好".encode(), b"\x9f\xa6", b" the", b"the", b"<s"),
        ],
        start=300,
    )
)
TEXTS = st.text(st.sampled_from("abcdefgh  \n🦙é好<s>the"), max_size=60) | st.text(
    st.characters(exclude_categories=["Cs"])
)


@pytest.fixture
def tokenizer() -> GreedyTokenizer:
    return GreedyTokenizer(PIECES, {0: "<s>"}, Specials(0, 0, (), (), frozenset({0})))


def longest(raw: bytes) -> list[int]:
    """The rule itself, slow and plain."""
    ids = []
    while raw:
        found = [(len(piece), i) for i, piece in PIECES.items() if raw.startswith(piece)]
        length, token_id = max(found)
        ids.append(token_id)
        raw = raw[length:]
    return ids


def test_the_longest_token_is_taken_each_time(tokenizer):
    """Whatever the text; what would come out shorter in all does not count."""

    @given(TEXTS)
    def check(text: str) -> None:
        assert tokenizer.encode(text, add_bos=False, allow_special=False) == longest(text.encode())

    check()


@pytest.mark.parametrize("allow_special", [False, True])
def test_texts_come_back(tokenizer, allow_special):
    """Every text of the hard corpus, byte for byte."""
    for text in hard_corpus(("<s>",)):
        ids = tokenizer.encode(text, add_bos=False, allow_special=allow_special)
        assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


def test_control_tokens_are_parsed_when_allowed(tokenizer):
    """Otherwise their name stays text, here of two tokens."""
    parsed = tokenizer.encode("ab<s>ab", add_bos=False, allow_special=True)
    plain = tokenizer.encode("ab<s>ab", add_bos=False, allow_special=False)

    assert parsed == [300, 0, 300]
    assert plain == [300, 313, 1 + ord(">"), 300]
    assert tokenizer.is_control(0)
    assert tokenizer.bos_token == tokenizer.eos_token == "<s>"


def test_no_half_characters_are_shown(tokenizer):
    """A character may be cut anywhere among tokens; pieces of text are whole ones."""

    @given(TEXTS.filter(lambda text: "\ufffd" not in text))
    def check(text: str) -> None:
        detokenizer = Detokenizer(tokenizer, starts_text=True)
        ids = tokenizer.encode(text, add_bos=False, allow_special=False)
        shown = [*map(detokenizer.push, ids), detokenizer.flush()]
        assert "".join(shown) == text
        assert not any("\ufffd" in piece for piece in shown)

    check()


def test_any_ids_are_their_bytes(tokenizer):
    """Ids in an order that no text has, and some that the vocabulary lacks."""

    @given(st.lists(st.sampled_from([*PIECES, 290, 999]), max_size=40))
    def check(ids: list[int]) -> None:
        detokenizer = Detokenizer(tokenizer)
        shown = "".join([*map(detokenizer.push, ids), detokenizer.flush()])
        assert shown == b"".join(PIECES.get(i, b"") for i in ids).decode(errors="replace")

    check()


def test_gaps_count_as_ids(tokenizer):
    """The size is that of the ids, not of the tokens."""
    assert tokenizer.vocab_size == 314
    assert tokenizer.token_bytes(290) == b""


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        (PIECES | {500: b"ab"}, "twice"),
        (PIECES | {500: b""}, "empty"),
        ({i: piece for i, piece in PIECES.items() if piece != b"q"}, "0x71"),
    ],
)
def test_vocabularies_that_cannot_be_are_refused(pieces, why):
    """Each text must have one way to be cut, and every text must have one."""
    with pytest.raises(ValueError, match=why):
        GreedyTokenizer(pieces, {0: "<s>"}, Specials())


@pytest.mark.parametrize("alphabet", ["etaoin shr", "a"])
def test_a_long_prompt_takes_no_time(alphabet):
    """100 kB in well under a second, with 65,000 tokens, also of a text that nearly matches them."""
    made = random.Random(5)
    words = {"".join(made.choices(alphabet, k=made.randint(2, 12))) + "z" for _ in range(65_000)}
    pieces = BYTES | dict(enumerate(map(str.encode, sorted(words)), start=300))
    tokenizer = GreedyTokenizer(pieces, {}, Specials())
    text = "".join(made.choices(alphabet, k=100_000))

    started = time.perf_counter()
    ids = tokenizer.encode(text, add_bos=False, allow_special=True)

    assert time.perf_counter() - started < 1
    assert len(ids) <= len(text)
