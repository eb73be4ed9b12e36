"""What a grammar allows next, by llguidance. No tensors.

Source: https://github.com/guidance-ai/llguidance (Earley parsing over derivatives of regular
expressions, a trie of the vocabulary); `LLMatcher`'s contract is in its `_lib.pyi`.
"""

from collections.abc import Sequence

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from engine.api import EngineError

LIMITS = LLParserLimits(verbose_errors=False)
"""The library's own: a grammar of 500,000 symbols, 20 ms of lexer and 50,000 items for a mask."""


class Constraint:
    """Where a sequence's text is in its grammar. One thread at a time may call.

    end_ids: tokens that end the sequence once the text may end.
    """

    def __init__(self, matcher: LLMatcher, end_ids: frozenset[int]) -> None:
        self._matcher = matcher
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
