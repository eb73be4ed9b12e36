import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

# SentencePiece cannot tell its mark of a space from a space
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=60)
KINDS = pytest.mark.parametrize(
    "family", ["llama-bf16", "llama-plain", "gemma3-swa", "rwkv7-goose"]
)


@pytest.mark.parametrize("form", ["gguf", "hf"])
def test_ids_are_those_of_the_references(form, tokenizer_cases, fixture_tokenizer):
    """From a GGUF's metadata alone and from `tokenizer.json`, ids equal the references'."""
    family, cases = tokenizer_cases
    tokenizer = fixture_tokenizer(family, form)

    for case in cases:
        assert tokenizer.encode(case["text"], add_bos=False, allow_special=True) == case["ids"]


@pytest.mark.parametrize("family", ["llama-bf16", "llama-plain", "gemma3-swa", "gemma3-linear"])
def test_both_forms_of_a_checkpoint_agree(family, fixture_tokenizer):
    """A GGUF and the folder that it was made from have the same special tokens and bytes."""
    gguf, folder = fixture_tokenizer(family, "gguf"), fixture_tokenizer(family, "hf")

    for fact in ("bos_id", "add_bos", "stop_ids", "bos_token", "eos_token", "drops_first_space"):
        assert getattr(gguf, fact) == getattr(folder, fact), fact
    for token_id in range(folder.vocab_size):
        assert gguf.token_bytes(token_id) == folder.token_bytes(token_id)
        assert gguf.is_control(token_id) == folder.is_control(token_id)


@KINDS
def test_tokens_spell_their_text(family, fixture_tokenizer):
    """The bytes of a text's tokens are the text, but for the space put before it."""
    tokenizer = fixture_tokenizer(family, "gguf")

    @given(TEXTS)
    def check(text: str) -> None:
        ids = tokenizer.encode(text, add_bos=False, allow_special=False)
        raw = b"".join(map(tokenizer.token_bytes, ids))
        if tokenizer.drops_first_space and text:
            raw = raw.removeprefix(b" ")
        assert raw.decode() == text

    check()


@KINDS
def test_plain_text_never_becomes_control_tokens(family, fixture_tokenizer):
    """Text that spells a control token stays text unless that is allowed."""
    tokenizer = fixture_tokenizer(family, "gguf")
    names = [tokenizer.bos_token, tokenizer.eos_token]

    for name in names:
        plain = tokenizer.encode(f"a{name}b", add_bos=False, allow_special=False)
        parsed = tokenizer.encode(f"a{name}b", add_bos=False, allow_special=True)
        assert not any(map(tokenizer.is_control, plain))
        assert [tokenizer.token_text(i) for i in parsed if tokenizer.is_control(i)] == [name]


def test_a_bos_is_added_once(byte_level):
    """A whole text begins with one BOS, also if it spells the BOS itself."""
    bos = byte_level.bos_id

    plain = byte_level.encode("hello", add_bos=True, allow_special=True)
    spelled = byte_level.encode(f"{byte_level.bos_token}hello", add_bos=True, allow_special=True)

    assert byte_level.add_bos
    assert plain == spelled
    assert plain[0] == bos
    assert bos not in plain[1:]


def test_a_model_without_bos_gets_none(fixture_tokenizer):
    """`add_bos_token` of the file decides."""
    tokenizer = fixture_tokenizer("qwen3-dense", "gguf")

    whole = tokenizer.encode("hello", add_bos=True, allow_special=True)

    assert whole == tokenizer.encode("hello", add_bos=False, allow_special=True)


def test_ids_beyond_the_vocabulary_are_no_bytes(byte_level):
    """A model may have more rows than its tokenizer has tokens."""
    assert byte_level.token_bytes(byte_level.vocab_size + 7) == b""
    assert byte_level.token_text(byte_level.vocab_size + 7) == ""


def test_half_a_character_is_shown_as_such(byte_level):
    """A token alone may be part of a character: exact as bytes, U+FFFD as text."""
    ids = byte_level.encode("🦙", add_bos=False, allow_special=False)

    assert len(ids) > 1
    assert {byte_level.token_text(i) for i in ids} == {"\ufffd"}
    assert b"".join(map(byte_level.token_bytes, ids)) == "🦙".encode()


def test_encoding_leaves_other_threads_running(byte_level):
    """A long prompt must not hold up the streams of others: the GIL is free meanwhile."""
    is_done = threading.Event()
    longest = 0.0

    def encode() -> None:
        byte_level.encode("ab " * 300_000, add_bos=False, allow_special=True)
        is_done.set()

    started = last = time.perf_counter()
    thread = threading.Thread(target=encode)
    thread.start()
    while not is_done.wait(0.001):
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    thread.join()

    assert longest < (time.perf_counter() - started) / 2
