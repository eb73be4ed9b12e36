import json
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tokenizers

from engine.text.pieces import drops_first_space, piece_decoder
from engine.text.stops import visible_texts


@dataclass(frozen=True, slots=True)
class Specials:
    """What a checkpoint says of its special tokens.

    prefix, suffix: ids put round a text that stands at the start of a sequence (BOS, EOS).
    stop_ids: tokens that end a generation.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    stop_ids: frozenset[int] = frozenset()


class Tokenizer:
    """Text to token ids and back, for one checkpoint. Safe to use from several threads."""

    def __init__(self, backend: tokenizers.Tokenizer, specials: Specials) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._specials = specials
        self._plain_lock = threading.Lock()
        self._plain: tokenizers.Tokenizer | None = None
        steps = _decoder_steps(backend)
        self._decode_piece = piece_decoder(steps)
        self.drops_first_space = drops_first_space(steps)
        """Whether a text's first token begins with a space that the text does not have."""
        added = backend.get_added_tokens_decoder()
        self._added = {token_id: token.content for token_id, token in added.items()}
        special = {token_id for token_id, token in added.items() if token.special}
        visible = visible_texts({self._added[token_id] for token_id in special})
        self._control = frozenset(i for i in special if self._added[i] not in visible)
        self._bytes: dict[int, bytes] = {}

    def encode(self, text: str, *, add_bos: bool, allow_special: bool) -> list[int]:
        """Ids of a text. Holds a core for about a second per million characters.

        add_bos: put round it what the model wants round a whole text; a BOS that the text itself
        begins with is not doubled. allow_special: text that spells a control token becomes it;
        otherwise it stays text.
        """
        backend = self._backend if allow_special else self._plain_backend()
        # A batch of one, because only batches let go of the GIL; `fast` leaves out the offsets.
        ids: list[int] = backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        if not add_bos:
            return ids
        prefix = self._specials.prefix
        if tuple(ids[: len(prefix)]) == prefix:
            prefix = ()
        return [*prefix, *ids, *self._specials.suffix]

    def _plain_backend(self) -> tokenizers.Tokenizer:
        # A second object, since the switch is a property that concurrent calls would share.
        with self._plain_lock:
            if self._plain is None:
                self._plain = tokenizers.Tokenizer.from_str(self._backend.to_str())
                self._plain.encode_special_tokens = True
            return self._plain

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes that a token stands for; a control token's are those of its name.

        Empty for an id that the vocabulary has no token for.
        """
        found = self._bytes.get(token_id)
        if found is None:
            found = self._bytes[token_id] = self._read_bytes(token_id)
        return found

    def _read_bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            return self._added[token_id].encode()
        piece = self._backend.id_to_token(token_id)
        return self._decode_piece(piece) if piece is not None else b""

    def token_text(self, token_id: int) -> str:
        """A token alone as text, U+FFFD where it holds half a character."""
        return self.token_bytes(token_id).decode(errors="replace")

    def is_control(self, token_id: int) -> bool:
        """Whether a token steers the conversation and is no text of it."""
        return token_id in self._control

    @property
    def bos_id(self) -> int | None:
        return self._specials.bos_id

    @property
    def add_bos(self) -> bool:
        return bool(self._specials.prefix)

    @property
    def stop_ids(self) -> frozenset[int]:
        return self._specials.stop_ids

    @property
    def bos_token(self) -> str:
        """The text of the BOS token; empty without one."""
        return self._name(self._specials.bos_id)

    @property
    def eos_token(self) -> str:
        return self._name(self._specials.eos_id)

    def _name(self, token_id: int | None) -> str:
        return "" if token_id is None else self._backend.id_to_token(token_id) or ""

    @cached_property
    def vocab_size(self) -> int:
        """Number of ids, counting gaps: the model's own vocabulary may still be larger."""
        ids: dict[str, int] = self._backend.get_vocab(with_added_tokens=True)
        return max(ids.values(), default=-1) + 1


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """The steps of the backend's decoder as `tokenizer.json` writes them."""
    if backend.decoder is None:
        return []
    state: dict[str, Any] = json.loads(backend.decoder.__getstate__())
    return state["decoders"] if state.get("type") == "Sequence" else [state]
