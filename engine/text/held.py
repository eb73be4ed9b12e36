"""Tokens that have come and are not sent yet."""

from typing import NamedTuple

from engine.api import TokenLogprob


class Token(NamedTuple):
    """A token, and from which to which character of the generated text it reaches."""

    token_id: int
    logprob: TokenLogprob | None
    start: int
    end: int


class HeldTokens:
    """Tokens and their logprobs wait for as long as the text that they are part of."""

    def __init__(self) -> None:
        self._tokens: list[Token] = []

    def add(self, token: Token) -> None:
        self._tokens.append(token)

    def release(self, num_chars: int, *, is_stopped: bool, is_last: bool) -> list[Token]:
        """Takes out the tokens of the first `num_chars` of the text.

        is_stopped: the text ends there, and tokens wholly after it are nobody's.
        """
        held, self._tokens = self._tokens, []
        if is_stopped:
            return [token for token in held if token.start < num_chars]
        if is_last or not held or held[-1].end <= num_chars:
            return held
        num_ready = next(i for i, token in enumerate(held) if token.end > num_chars)
        self._tokens = held[num_ready:]
        return held[:num_ready]
