import codecs
from collections.abc import Set as AbstractSet

from engine.text.tokenizer import Tokenizer


class Detokenizer:
    """Token ids to text, as they come; never half a character.

    The text of all calls together is that of all the tokens' bytes, malformed ones replaced by
    U+FFFD. Control tokens give none but those of `shown`. starts_text: nothing comes before these tokens, so the space
    that some tokenizers put before a text is taken off again.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        starts_text: bool = False,
        shown: AbstractSet[int] = frozenset(),
    ) -> None:
        self._tokenizer = tokenizer
        self._shown = shown
        self._drops_space = starts_text and tokenizer.drops_first_space
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """What the token completes; empty in the middle of a character."""
        if self._tokenizer.is_control(token_id) and token_id not in self._shown:
            return ""
        raw = self._tokenizer.token_bytes(token_id)
        if self._drops_space and raw:
            raw = raw.removeprefix(b" ")
            self._drops_space = False
        return self._decoder.decode(raw)

    @property
    def is_inside_character(self) -> bool:
        return bool(self._decoder.getstate()[0])

    def flush(self) -> str:
        """What is left at the end: U+FFFD for a character that was not finished."""
        return self._decoder.decode(b"", final=True)
