"""Compiled grammars and the vocabularies that they are compiled for."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from llguidance import LLMatcher, LLTokenizer

from engine.api import EngineError
from engine.sampling.grammar import Constraint, build_trie, compile_grammar
from engine.wire import Constrain, Vocabulary

MAX_TRIES = 8
"""One of 262,144 tokens takes some 30 MB, and seconds to make; one of 49,152 a seventh of it."""

MAX_COMPILED = 128

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Vocabularies:
    """Makes constraints; the latest vocabularies and grammars are kept. For one thread.

    Vocabularies are known by their content: models that share one share what is made of it, and
    eviction takes nothing away.
    """

    def __init__(self) -> None:
        self._tries: OrderedDict[str, LLTokenizer] = OrderedDict()
        self._compiled: OrderedDict[tuple[str, str], LLMatcher] = OrderedDict()

    def constraint(self, wanted: Constrain, vocabulary: Vocabulary | None) -> Constraint:
        """A constraint at its start; blocks for as long as it takes to compile.

        Raises `EngineError`: bad_request for a grammar that is wrong.
        """
        if vocabulary is None:
            raise EngineError("internal", f"no vocabulary {wanted.vocabulary} was sent")
        trie = _kept(self._tries, vocabulary.key, MAX_TRIES, lambda: _trie(vocabulary))
        matcher = _kept(
            self._compiled,
            (vocabulary.key, wanted.text),
            MAX_COMPILED,
            lambda: compile_grammar(trie, wanted.text),
        )
        return Constraint(matcher.deep_copy(), frozenset(vocabulary.end_ids), trie)


def _trie(vocabulary: Vocabulary) -> LLTokenizer:
    return build_trie(vocabulary.tokens, vocabulary.control_ids, vocabulary.end_ids)


def _kept(
    kept: "OrderedDict[Key, Value]", key: Key, limit: int, make: Callable[[], Value]
) -> Value:
    """What is kept under a key, or made now; the longest unused goes."""
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    if len(kept) > limit:
        kept.popitem(last=False)
    return kept[key]
