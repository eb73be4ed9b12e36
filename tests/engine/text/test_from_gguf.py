import heapq
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.api import EngineError
from engine.checkpoint import open_checkpoint
from engine.text import from_gguf
from engine.text.pieces import BYTE_ALPHABET
from engine.text.pipeline import PipelineTokenizer
from engine.text.split import PRE_TOKENIZERS
from engine.text.tokenizer import Tokenizer

BYTES = [chr(byte) for byte in range(ord("!"), ord("~") + 1)]


def metadata(**changes: Any) -> dict[str, Any]:
    """A byte-level vocabulary of printable ASCII, one merge and two control tokens."""
    tokens = [*BYTES, "Ġ", "ab", "<s>", "</s>", "<hi>"]
    types = [1] * (len(BYTES) + 2) + [3, 3, 4]
    facts = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": types,
        "merges": ["a b"],
        "bos_token_id": tokens.index("<s>"),
        "eos_token_id": tokens.index("</s>"),
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (facts | changes).items()}


def build(facts: dict[str, Any]) -> Tokenizer:
    backend = from_gguf.build_backend(facts)
    return PipelineTokenizer(backend, from_gguf.read_specials(facts, backend))


def texts(tokenizer: Tokenizer, text: str, **how: bool) -> list[str]:
    how = {"add_bos": False, "allow_special": True} | how
    return [tokenizer.token_text(i) for i in tokenizer.encode(text, **how)]


def test_merges_and_special_tokens_are_used():
    """Merges apply; control tokens when allowed; user-defined tokens always."""
    tokenizer = build(metadata())

    assert texts(tokenizer, "abc<s><hi>") == ["ab", "c", "<s>", "<hi>"]
    assert texts(tokenizer, "<s><hi>", allow_special=False) == ["<", "s", ">", "<hi>"]
    assert not tokenizer.is_control(tokenizer.encode("<hi>", add_bos=False, allow_special=True)[0])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["a"]),
        ({"pre": "llama-bpe"}, ["<s>", "a"]),
        ({"pre": "llama-bpe", "add_bos_token": False}, ["a"]),
        ({"add_bos_token": True}, ["<s>", "a"]),
        ({"add_bos_token": True, "add_eos_token": True}, ["<s>", "a", "</s>"]),
        ({"add_bos_token": True, "bos_token_id": 10**6}, ["a"]),
    ],
)
def test_what_surrounds_a_text_is_what_the_file_says(changes, expected):
    """`add_bos_token` and `add_eos_token` decide, else the pre-tokenizer's habit."""
    assert texts(build(metadata(**changes)), "a", add_bos=True) == expected


@pytest.mark.parametrize(
    ("changes", "pair"),
    [
        ({"add_sep_token": True}, "<s>ab</s></s>c</s>"),
        ({"add_sep_token": False}, "<s>ab</s>c</s>"),
        ({"add_sep_token": True, "architecture": "modern-bert"}, "<s>ab</s>c</s>"),
    ],
)
def test_pairs_are_joined_as_llama_cpp_does(changes, pair):
    """XLM-R's have two marks between the texts; ModernBERT's one, whatever its files say."""
    architecture = changes.pop("architecture", "bert")
    ends = {"add_bos_token": True, "add_eos_token": True, "seperator_token_id": len(BYTES) + 3}
    tokenizer = build(metadata(**ends, **changes) | {"general.architecture": architecture})

    ids, first_length = tokenizer.encode_pair("ab", "c")

    assert "".join(map(tokenizer.token_text, ids)) == pair
    assert first_length == len(ids) - 2


def test_tokens_to_suppress_are_barred():
    """Embedding rows that were never trained would win otherwise (MiniMax)."""
    assert build(metadata(suppress_tokens=[3, 5])).barred_ids == {3, 5}
    assert build(metadata()).barred_ids == frozenset()


def test_an_unknown_pre_tokenizer_is_warned_about():
    """A name that we do not know falls back to the default, with one warning."""
    with capture_logs() as logs:
        tokenizer = build(metadata(pre="from-the-future"))

    assert texts(tokenizer, "ab") == ["ab"]
    assert [(line["event"], line["name"]) for line in logs] == [
        ("unknown_pre_tokenizer", "from-the-future")
    ]


@pytest.mark.parametrize(
    ("pre", "expected"), [("qwen2", ["\u00e9"]), ("llama-bpe", ["e", "\u0301"])]
)
def test_characters_are_composed_where_the_published_tokenizer_does(pre, expected):
    """GGUF says it by the pre-tokenizer's name alone."""
    byte_pieces = [char for char in BYTE_ALPHABET if char not in BYTES]
    tokens = [*BYTES, *byte_pieces, "\u00c3\u00a9", "\u00cc\u0123"]  # the bytes of both marks
    merges = ["\u00c3 \u00a9", "\u00cc \u0123"]
    tokenizer = build(metadata(pre=pre, tokens=tokens, token_type=[1] * len(tokens), merges=merges))

    assert texts(tokenizer, "e\u0301") == expected


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
def test_every_pre_tokenizer_can_be_built_and_loses_nothing(pre):
    """All patterns compile, and splitting keeps every character."""
    text = "It's 12345 ABCdef  \n\n~ [x]=y\t"

    tokenizer = build(metadata(pre=pre, tokens=[*map(chr, range(33, 512))], token_type=[1] * 479))

    ids = tokenizer.encode(text, add_bos=False, allow_special=False)
    assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "klingon"},
        {"model": None},
        {"tokens": None},
        {"tokens": [1, 2]},
        {"tokens": ["a", "a"], "token_type": [1, 1]},
        {"token_type": [1]},
        {"token_type": ["x"] * 120},
        {"merges": None},
        {"scores": [0.0]},
    ],
)
def test_tables_that_contradict_are_refused(changes):
    """A tokenizer that cannot be is the checkpoint's fault, and said so."""
    with pytest.raises(EngineError) as caught:
        build(metadata(**changes))

    assert caught.value.code == "bad_checkpoint"
    assert "tokenizer" in caught.value.message


def test_merges_of_tokens_that_are_not_there_are_left_out():
    """A merge that could never apply does not make the file unreadable."""
    tokenizer = build(metadata(merges=["a b", "x y", "zz a", "b"]))

    assert texts(tokenizer, "abxy") == ["ab", "x", "y"]


@pytest.mark.parametrize("family", ["llama-plain", "gemma3-swa", "mixtral-moe", "phi3-mini"])
def test_sentencepiece_merges_best_score_first(family, family_folder):
    """Derived merges give what merging the best-scored neighbours, leftmost first, gives."""
    path = next(iter(sorted(family_folder(family).glob("*.gguf"))))
    facts = dict(open_checkpoint(path).metadata)
    tokenizer = build(facts)
    tokens, types = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    scores = {
        token: score
        for token, kind, score in zip(tokens, types, facts["tokenizer.ggml.scores"], strict=True)
        if kind == 1
    }
    alphabet = sorted({char for token in scores for char in token} - {"\u2581"})

    @settings(max_examples=200)
    @given(st.text(st.sampled_from([*alphabet, " ", " ", "é"]), min_size=1, max_size=30))
    def check(text: str) -> None:
        spaced = text.replace(" ", "\u2581")
        if tokenizer.drops_first_space:
            spaced = "\u2581" + spaced
        expected = [piece.replace("\u2581", " ") for piece in merge_by_score(spaced, scores)]
        found = tokenizer.encode(text, add_bos=False, allow_special=False)
        pieces = [tokenizer.token_bytes(i) for i in found]
        assert pieces == [raw for piece in expected for raw in as_known(piece, scores)]

    check()


def merge_by_score(text: str, scores: dict[str, float]) -> list[str]:
    """SentencePiece's rule, straight from its description: slow and plain."""
    pieces = list(text)
    while True:
        pairs = [
            (-scores[left + right], index)
            for index, (left, right) in enumerate(pairwise(pieces))
            if left + right in scores
        ]
        if not pairs:
            return pieces
        _, index = heapq.nsmallest(1, pairs)[0]
        pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]


def as_known(piece: str, scores: dict[str, float]) -> list[bytes]:
    """A piece as tokens: whole, or as bytes where no token has it."""
    raw = piece.encode()
    if piece.replace(" ", "\u2581") in scores:
        return [raw]
    return [bytes([byte]) for byte in raw]


@pytest.mark.parametrize(("said", "ends"), [({}, True), ({"add_eos_token": False}, False)])
def test_a_unigram_text_ends_with_an_eos(said, ends):
    """Unless its file says otherwise, as llama.cpp has it."""
    pieces = {"tokens": ["<s>", "</s>", "<unk>", "▁a"], "token_type": [3, 3, 2, 1]}
    facts = {"model": "t5", "scores": [0.0, 0.0, -5.0, -1.0], "bos_token_id": 0, "eos_token_id": 1}
    tokenizer = build(metadata(**pieces, **facts, merges=[], **said))

    assert texts(tokenizer, "a", add_bos=True) == ([" a", "</s>"] if ends else [" a"])


def test_unigram_takes_the_likeliest_pieces():
    """T5's kind: the split whose scores add up best."""
    tokens = ["<pad>", "</s>", "<unk>", "\u2581", "a", "b", "\u2581ab", "\u2581a"]
    scores = [0.0, 0.0, 0.0, -9.0, -4.0, -4.0, -3.0, -2.0]
    types = [3, 3, 2, 1, 1, 1, 1, 1]
    tokenizer = build(
        metadata(model="t5", tokens=tokens, scores=scores, token_type=types, unknown_token_id=2)
    )

    assert texts(tokenizer, "ab a") == [" ab", " a"]
