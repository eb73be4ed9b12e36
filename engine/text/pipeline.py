import json
import threading
from functools import cached_property
from itertools import groupby
from typing import Any

import tokenizers

from engine.text.inert import InertBackend
from engine.text.pieces import drops_first_space, piece_decoder
from engine.text.stops import visible_texts
from engine.text.tokenizer import MARK, Specials, Tokenizer


class PipelineTokenizer(Tokenizer):
    """What a `tokenizer.json` describes: normalise, split, merge, and decode again."""

    def __init__(self, backend: tokenizers.Tokenizer, specials: Specials) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._plain_lock = threading.Lock()
        self._plain: tokenizers.Tokenizer | None = None
        self._inert: dict[frozenset[str], InertBackend] = {}
        steps = _decoder_steps(backend)
        self._decode_piece = piece_decoder(steps)
        added = backend.get_added_tokens_decoder()
        self._added = {token_id: token.content for token_id, token in added.items()}
        special = {token_id for token_id, token in added.items() if token.special}
        self._special_names = frozenset(self._added[token_id] for token_id in special)
        visible = visible_texts(self._special_names)
        control = frozenset(i for i in special if self._added[i] not in visible)
        super().__init__(specials, control, drops_first_space=drops_first_space(steps))

    def _ids_of(self, text: str, *, allow_special: bool) -> list[int]:
        backend = self._backend if allow_special else self._plain_backend()
        # A batch of one, because only batches let go of the GIL; `fast` leaves out the offsets.
        ids: list[int] = backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def encode_guarded(self, text: str, names: frozenset[str]) -> list[int]:
        if MARK not in text:
            return self._ids_of(text, allow_special=True)
        encoded = self._backend.encode_batch([text], add_special_tokens=False)[0]
        with self._plain_lock:
            inert = self._inert.get(names) or InertBackend(self._backend, names)
            self._inert[names] = inert  # one for each of the model's templates
        return inert.reread(encoded, text)

    @property
    def special_names(self) -> frozenset[str]:
        return self._special_names

    @property
    def added_names(self) -> frozenset[str]:
        return frozenset(self._added.values()) - self._special_names

    def encode_pair(self, first: str, second: str) -> tuple[list[int], int]:
        encoded = self._backend.encode_batch([(first, second)])[0]
        types = encoded.type_ids
        return list(encoded.ids), types.index(1) if 1 in types else len(types)

    def _plain_backend(self) -> tokenizers.Tokenizer:
        # A second object, since the switch is a property that concurrent calls would share.
        with self._plain_lock:
            if self._plain is None:
                self._plain = _sharing(self._backend)
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


def _sharing(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """One that encodes the same, of the same vocabulary: a copy of it would take seconds to make."""
    made = tokenizers.Tokenizer(backend.model)
    made.normalizer, made.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    added = (token for _, token in sorted(backend.get_added_tokens_decoder().items()))
    for is_special, tokens in groupby(added, key=lambda token: token.special):
        add = made.add_special_tokens if is_special else made.add_tokens
        add(list(tokens))
    return made


def _decoder_steps(backend: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """The steps of the backend's decoder as `tokenizer.json` writes them."""
    if backend.decoder is None:
        return []
    state: dict[str, Any] = json.loads(backend.decoder.__getstate__())
    return state["decoders"] if state.get("type") == "Sequence" else [state]
