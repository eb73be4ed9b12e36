"""What a grammar allows next, by llguidance. No tensors.

Source: https://github.com/guidance-ai/llguidance (Earley parsing over derivatives of regular
expressions, a trie of the vocabulary); `LLMatcher`'s contract is in its `_lib.pyi`.
"""

from collections.abc import Sequence
from itertools import takewhile

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from engine.api import EngineError

LIMITS = LLParserLimits(verbose_errors=False)
"""The library's own: a grammar of 500,000 symbols, 20 ms of lexer and 50,000 items for a mask."""


class Constraint:
    """Where a sequence's text is in its grammar. One thread at a time may call.

    end_ids: tokens that end the sequence once the text may end.
    """

    def __init__(self, matcher: LLMatcher, end_ids: frozenset[int], trie: LLTokenizer) -> None:
        self._matcher = matcher
        self._trie = trie
        self.end_ids = end_ids

    def allowed(self) -> bytes:
        """A byte per token of the vocabulary, 0 for those that may not come next.

        Of a complete text only ends may follow. Lets go of the interpreter meanwhile. Raises
        `EngineError` bad_request where the grammar takes too much to follow.
        """
        if self._matcher.is_error():
            raise _too_complex(self._matcher)
        allowed = self._matcher.compute_logit_bias()
        if self._matcher.is_error():
            raise _too_complex(self._matcher)
        return allowed

    def allowed_along(self, draft: Sequence[int]) -> list[bytes]:
        """What `allowed` is now, and behind each token of a draft that the grammar can follow."""
        found = [self.allowed()]
        for token_id in draft:
            self.consume(token_id)
            found.append(self.allowed())
        if draft:
            self._matcher.rollback(len(draft))
        return found

    def forced(self, limit: int) -> tuple[int, ...]:
        """At most so many tokens that spell what must come next, none where there is a choice.

        Each is the longest that fits, which is mostly how a model spells as well; other spellings
        are allowed too, so these are guesses. Takes microseconds.
        """
        try:
            # of a copy: llguidance 1.9.1 forgets control tokens behind what it was asked so
            text = self._matcher.deep_copy().compute_ff_bytes().decode()
        except UnicodeDecodeError:  # half a character, or a control token
            return ()
        return self.followed(self._trie.greedy_tokenize(text)[:limit]) if text else ()

    def followed(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """As many of these tokens as the grammar lets come next, ends left out."""
        text_ids = list(takewhile(lambda token_id: token_id not in self.end_ids, token_ids))
        return tuple(text_ids[: self._matcher.validate_tokens(text_ids)])

    def consume(self, token_id: int) -> None:
        """The sequence goes on with a token that was allowed."""
        self._matcher.consume_token(token_id)  # what it cannot do it says when it is asked again


def build_trie(
    tokens: Sequence[bytes], control_ids: Sequence[int], end_ids: Sequence[int]
) -> LLTokenizer:
    """What masks are computed over. Holds the interpreter, for seconds with 262,144 tokens.

    tokens: by id, empty where there is none. control_ids: these are no text, whatever their bytes.
    """
    vocabulary = _Vocabulary(tokens, control_ids, end_ids[0])
    return LLTokenizer(TokenizerWrapper(vocabulary), eos_token=list(end_ids))


def compile_grammar(trie: LLTokenizer, text: str) -> LLMatcher:
    """The start of a grammar in llguidance's own form. Lets go of the interpreter meanwhile.

    Raises `EngineError` bad_request with the library's reason.
    """
    matcher = LLMatcher(trie, text, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise EngineError("bad_request", f"the grammar is wrong: {matcher.get_error()}", "grammar")
    return matcher


class _Vocabulary:
    """What `TokenizerWrapper` reads."""

    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes], control_ids: Sequence[int], end_id: int) -> None:
        self.eos_token_id = end_id
        self.tokens = tokens
        self.special_token_ids = control_ids

    def __call__(self, text: bytes) -> list[int]:
        """Asked for where a grammar forces tokens, which ours do not (`engine.text.grammars`)."""
        del text
        return []


def _too_complex(matcher: LLMatcher) -> EngineError:
    reason = matcher.get_error().strip() or matcher.stop_reason()
    return EngineError("bad_request", f"the grammar could not be followed: {reason}", "grammar")
