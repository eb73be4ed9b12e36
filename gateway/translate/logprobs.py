"""Log-probabilities as chats show them, and in the shape of plain completions.

There no alternative is lost to its name.
"""

import codecs

from engine.api import TokenLogprob, TopLogprob
from gateway.openai import chat
from gateway.openai.completion import Logprobs
from gateway.translate.reply import finite


def read_logprob(token: TokenLogprob) -> chat.TokenLogprob:
    top = [chat.TopLogprob(t.text, finite(t.logprob), list(t.raw), t.token_id) for t in token.top]
    # only a prompt's first token has none, and chat replies hold no prompt tokens
    logprob = finite(token.logprob or 0.0)
    return chat.TokenLogprob(token.text, logprob, list(token.raw), token.token_id, top)


class LogprobsWriter:
    """One choice's log-probabilities; text offsets go on from one call to the next."""

    def __init__(self, num_top: int) -> None:
        self._num_top = num_top
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._offset = 0

    def write(self, tokens: list[TokenLogprob], text: str) -> Logprobs:
        """text: what the choice's text has gained with these tokens, as far as it is known yet."""
        self._text += text
        keys = [_top_keys(token.top) for token in tokens]
        return Logprobs(
            tokens=[_name(token, named) for token, named in zip(tokens, keys, strict=True)],
            token_logprobs=[None if t.logprob is None else finite(t.logprob) for t in tokens],
            top_logprobs=[_top(t, k) for t, k in zip(tokens, keys, strict=True)]
            if self._num_top
            else None,
            text_offset=[self._advance(token) for token in tokens],
            token_ids=[token.token_id for token in tokens],
            top_token_ids=[[top.token_id for top in token.top] for token in tokens],
        )

    def _advance(self, token: TokenLogprob) -> int:
        """Where the token begins in the choice's text, in characters.

        Special tokens are not in the text, nor is the space that some vocabularies begin with.
        """
        offset = self._offset
        spelt = self._decoder.decode(token.raw)
        for shown in (spelt, spelt.lstrip(" ")):
            # what is held back, since a stop string may begin there, counts as shown
            if shown.startswith(self._text[offset : offset + len(shown)]):
                self._offset += len(shown)
                break
        return offset


def _top(token: TokenLogprob, keys: dict[int, str]) -> dict[str, float] | None:
    if token.logprob is None:
        return None
    return {keys[top.token_id]: finite(top.logprob) for top in token.top}


def _top_keys(top: list[TopLogprob]) -> dict[int, str]:
    """Token id -> its key, unique among them: the likeliest of a text keeps it."""
    keys: dict[int, str] = {}
    taken: set[str] = set()
    for entry in top:
        text = _spell(entry.text, entry.raw)
        keys[entry.token_id] = f"token_id:{entry.token_id}" if text in taken else text
        taken.add(keys[entry.token_id])
    return keys


def _name(token: TokenLogprob, keys: dict[int, str]) -> str:
    """As its alternative is called, so that clients can find the one in the other."""
    return keys.get(token.token_id) or _spell(token.text, token.raw)


def _spell(text: str, raw: bytes) -> str:
    """Bytes that are no text of their own in OpenAI's spelling."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
    return text
