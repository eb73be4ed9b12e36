"""Log-probabilities of an upstream, of chats and of plain completions."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress

from engine.api import TokenLogprob, TopLogprob
from gateway.upstreams import wire

_SPELT = "bytes:"


def read_logprobs(said: wire.Logprobs | None) -> list[TokenLogprob]:
    if said is None:
        return []
    if said.content is not None:
        return [_of_chat(token) for token in said.content]
    return list(_of_completion(said))


def _of_chat(token: wire.Token) -> TokenLogprob:
    entries = token.top_logprobs or []
    named = _Ids()
    top = [
        TopLogprob(named.of(e.token, e.token_id), e.token, _raw(e.token, e.bytes), e.logprob)
        for e in entries
    ]
    token_id = named.of(token.token, token.token_id)
    return TokenLogprob(token_id, token.token, _raw(token.token, token.bytes), token.logprob, top)


def _of_completion(said: wire.Logprobs) -> Iterator[TokenLogprob]:
    tokens, logprobs = said.tokens or [], said.token_logprobs or []
    tops: Sequence[dict[str, float] | None] = said.top_logprobs or [None] * len(tokens)
    ids: Sequence[int | None] = said.token_ids or [None] * len(tokens)
    top_ids = said.top_token_ids or [[]] * len(tokens)
    for token, logprob, top, token_id, named_ids in zip(
        tokens, logprobs, tops, ids, top_ids, strict=False
    ):
        named = _Ids()
        known = named.of(token, token_id)
        yield TokenLogprob(
            known,
            _text(token),
            _raw(token, None),
            logprob,
            [
                TopLogprob(named.of(name, top_id), _text(name), _raw(name, None), value)
                for (name, value), top_id in itertools.zip_longest(
                    (top or {}).items(), named_ids[: len(top or {})]
                )
            ],
        )


class _Ids:
    """Numbers of tokens at one place: the upstream's, or negative ones where it says none.

    The same text has the same there, by which a token is found among its alternatives.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, text: str, token_id: int | None) -> int:
        if token_id is not None:
            self._known.setdefault(text, token_id)
            return token_id
        return self._known.setdefault(text, -1 - len(self._known))


def _raw(token: str, said: list[int] | None) -> bytes:
    """A token's bytes; half a character is spelt in OpenAI's way."""
    with suppress(ValueError):
        if said is not None:
            return bytes(said)
        if token.startswith(_SPELT):
            return bytes.fromhex(token.removeprefix(_SPELT).replace("\\x", ""))
    return token.encode()


def _text(token: str) -> str:
    return _raw(token, None).decode(errors="replace")
