import json
import threading
from functools import cached_property
from typing import Any

import tokenizers

from engine.text.pieces import drops_first_space, piece_decoder
from engine.text.stops import visible_texts
from engine.text.tokenizer import Specials, Tokenizer


class PipelineTokenizer(Tokenizer):
    """What a `tokenizer.json` describes: normalise, split, merge, and decode again."""

    def __init__(self, backend: tokenizers.Tokenizer, specials: Specials) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._plain_lock = threading.Lock()
        self._plain: tokenizers.Tokenizer | None = None
        steps = _decoder_steps(backend)
        self._decode_piece = piece_decoder(steps)
        added = backend.get_added_tokens_decoder()
        self._added = {token_id: token.content for token_id, token in added.items()}
        special = {token_id for token_id, token in added.items() if token.special}
        visible = visible_texts({self._added[token_id] for token_id in special})
        control = frozenset(i for i in special if self._added[i] not in visible)
        super().__init__(specials, control, drops_first_space=drops_first_space(steps))

    def _ids_of(self, text: str, *, allow_special: bool) -> list[int]:
        backend = self._backend if allow_special else self._plain_backend()
        # A batch of one, because only batches let go of the GIL; `fast` leaves out the offsets.
        ids: list[int] = backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def encode_pair(self, first: str, second: str) -> tuple[list[int], int]:
        encoded = self._backend.encode_batch([(first, second)])[0]
        types = encoded.type_ids
        return list(encoded.ids), types.index(1) if 1 in types else len(types)

    def _plain_backend(self) -> tokenizers.Tokenizer:
        # A second object, since the switch is a property that concurrent calls would share.
        with self._plain_lock:
            if self._plain is None:
                self._plain = tokenizers.Tokenizer.from_str(self._backend.to_str())
                self._plain.encode_special_tokens = True
            return self._plain

    def _read_bytes(self, token_id: int) -> bytes:
        if token_id in self._added:
            return self._added[token_id].encode()
        piece = self._backend.id_to_token(token_id)
        return self._decode_piece(piece) if piece is not None else b""

    def _name(self, token_id: int | None) -> str:
        return "" if token_id is None else self._backend.id_to_token(token_id) or ""

    @cached_property
    def vocab_size(self) -> int:
        ids: dict[str, int] = self._backend.get_vocab(with_added_tokens=True)
        return max(ids.values(), default=-1) + 1


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """The steps of the backend's decoder as `tokenizer.json` writes them."""
    if backend.decoder is None:
        return []
    state: dict[str, Any] = json.loads(backend.decoder.__getstate__())
    return state["decoders"] if state.get("type") == "Sequence" else [state]
