"""A tokenizer to which the names of some tokens are text as any other."""

import copy
import json
from collections.abc import Iterator

import tokenizers
from tokenizers import pre_tokenizers

from engine.text.tokenizer import MARK

Span = tuple[int, int]


class InertBackend:
    """Tokenizes again what stands between the names of a text and has a `MARK` within.

    Shares its vocabulary with the backend, which for large ones is nearly all of it.
    """

    def __init__(self, backend: tokenizers.Tokenizer, names: frozenset[str]) -> None:
        self._backend = tokenizers.Tokenizer(backend.model)
        self._backend.normalizer = backend.normalizer
        self._backend.pre_tokenizer, self._marks_first = _without_first(backend.pre_tokenizer)
        _add_others(self._backend, backend, names)
        self._borders = {backend.token_to_id(name) for name in names}

    def reread(self, encoded: tokenizers.Encoding, text: str) -> list[int]:
        """The ids of a text whose own backend has read the marks as characters."""
        ids: list[int] = []
        for (first, last), (start, end) in self._sections(encoded, len(text)):
            section = text[start:end]
            ids += self._plain(section, start) if MARK in section else encoded.ids[first:last]
            ids += encoded.ids[last : last + 1]  # the name behind it
        return ids

    def _sections(
        self, encoded: tokenizers.Encoding, num_chars: int
    ) -> Iterator[tuple[Span, Span]]:
        """Tokens and characters of each stretch between two names, the empty ones too."""
        offsets = encoded.offsets
        first, start = 0, 0
        for place, token_id in enumerate(encoded.ids):
            if token_id in self._borders:
                yield (first, place), (start, offsets[place][0])
                first, start = place + 1, offsets[place][1]
        yield (first, len(encoded.ids)), (start, num_chars)

    def _plain(self, section: str, start: int) -> list[int]:
        plain = section.replace(MARK, "")
        if self._marks_first and start == 0 and not plain.startswith(" "):
            plain = f" {plain}"
        ids: list[int] = self._backend.encode_batch_fast([plain], add_special_tokens=False)[0].ids
        return ids


def _without_first(
    pre_tokenizer: pre_tokenizers.PreTokenizer | None,
) -> tuple[pre_tokenizers.PreTokenizer | None, bool]:
    """A copy that does not mark a space before the first word of a text, and whether it was to.

    A section is mostly not the first.
    """
    if pre_tokenizer is None:
        return None, False
    state = json.loads(pre_tokenizer.__getstate__())
    steps = [state, *state.get("pretokenizers", [])]
    marking = [step for step in steps if step.get("prepend_scheme") == "first"]
    for step in marking:
        step["prepend_scheme"] = "never"
    made = copy.deepcopy(pre_tokenizer)
    made.__setstate__(json.dumps(state).encode())
    return made, bool(marking)


def _add_others(
    made: tokenizers.Tokenizer, backend: tokenizers.Tokenizer, names: frozenset[str]
) -> None:
    """Adds the tokens of their own that are none of the names, each with the id that it has."""
    num_ids = backend.get_vocab_size(with_added_tokens=False)
    for token_id, token in sorted(backend.get_added_tokens_decoder().items()):
        if token_id >= num_ids and token.content in names:
            made.add_tokens([f"{MARK}{token_id}"])  # takes its place, which the next ones count on
        elif token.content not in names:
            made.add_tokens([token])
