"""Merge lists for BPE, in order of priority."""

from collections.abc import Mapping

from engine.api import EngineError
from engine.text.vocabulary import Vocabulary


def merges_from_strings(entries: object, ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Merges stored as "left right". Those that name what is no token could never apply."""
    if not isinstance(entries, list):
        raise EngineError("bad_checkpoint", "tokenizer: tokenizer.ggml.merges is missing")
    pairs = (_split(entry) for entry in entries)
    return [
        (left, right)
        for left, right in pairs
        if left in ids and right in ids and left + right in ids
    ]


def _split(entry: str) -> tuple[str, str]:
    left, _, right = entry[1:].partition(" ")  # a piece may itself begin with a space
    return entry[:1] + left, right


def merges_from_scores(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """The merges of a SentencePiece BPE vocabulary, which stores only what they made.

    A token can come of every split into two tokens; the better its score, the sooner. As
    transformers' converter does; tokens that are not ordinary text neither merge nor are made.
    """
    scores = vocabulary.normal_scores
    ids = vocabulary.ids
    found: list[tuple[float, int, int, int, str, str]] = []
    for text, score in scores.items():
        token = ids[text]
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in scores and right in scores:
                found.append((-score, token, ids[left], ids[right], left, right))
    found.sort()
    return [(left, right) for *_, left, right in found]
