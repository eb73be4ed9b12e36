import re
from collections import defaultdict
from collections.abc import Mapping

from engine.text.tokenizer import MARK, Specials, Tokenizer

START = 2
"""Tokens are looked for by so many bytes of their beginning: few share more than a handful."""


class GreedyTokenizer(Tokenizer):
    """RWKV's: of the tokens that a text goes on with, always the longest. Of bytes, not characters.

    pieces: each token's bytes by its id; every single byte is one. names: the control tokens.
    Raises ValueError for pieces that lack a byte, are empty, or twice there.
    """

    def __init__(
        self, pieces: Mapping[int, bytes], names: Mapping[int, str], specials: Specials
    ) -> None:
        super().__init__(specials, frozenset(names))
        self._pieces, self._names = pieces, names
        self._ids = {piece: token_id for token_id, piece in pieces.items()}
        _check(pieces, self._ids)
        self._lengths = _lengths(self._ids)
        self._by_name = {name: token_id for token_id, name in names.items()}
        longest_first = sorted(map(re.escape, self._by_name), key=len, reverse=True)
        self._controls = re.compile(f"({'|'.join(longest_first)})") if names else None

    def _ids_of(self, text: str, *, allow_special: bool) -> list[int]:
        if not allow_special or self._controls is None:
            return self._match(text.encode())
        ids: list[int] = []
        for index, part in enumerate(self._controls.split(text)):
            ids += [self._by_name[part]] if index % 2 else self._match(part.encode())
        return ids

    def encode_guarded(self, text: str, names: frozenset[str]) -> list[int]:
        del names  # its only tokens with a name are the control tokens
        parts = self._controls.split(text) if self._controls else [text]
        ids: list[int] = []
        for index, part in enumerate(parts):
            is_name = index % 2 == 1
            ids += (
                [self._by_name[part]] if is_name else self._match(part.replace(MARK, "").encode())
            )
        return ids

    @property
    def special_names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    def _match(self, raw: bytes) -> list[int]:
        ids, found, start = self._ids, [], 0
        while start < len(raw):
            for length in self._lengths.get(raw[start : start + START], ()):
                token_id = ids.get(raw[start : start + length])
                if token_id is not None:
                    break
            else:
                length, token_id = 1, ids[raw[start : start + 1]]
            found.append(token_id)
            start += length
        return found

    def _read_bytes(self, token_id: int) -> bytes:
        return self._pieces.get(token_id) or self._name(token_id).encode()

    def _name(self, token_id: int | None) -> str:
        return "" if token_id is None else self._names.get(token_id, "")

    @property
    def vocab_size(self) -> int:
        return max([*self._pieces, *self._names]) + 1


def _check(pieces: Mapping[int, bytes], ids: Mapping[bytes, int]) -> None:
    if b"" in ids:
        raise ValueError(f"token {ids[b'']} is empty")
    if len(ids) < len(pieces):
        twice = next(token_id for token_id, piece in pieces.items() if ids[piece] != token_id)
        raise ValueError(f"token {pieces[twice]!r} is in the vocabulary twice")
    missing = [byte for byte in range(256) if bytes([byte]) not in ids]
    if missing:
        raise ValueError(f"no token is the byte {missing[0]:#04x}")


def _lengths(ids: Mapping[bytes, int]) -> Mapping[bytes, tuple[int, ...]]:
    """By how tokens of two bytes and more begin, their lengths, longest first."""
    found: dict[bytes, set[int]] = defaultdict(set)
    for piece in ids:
        if len(piece) >= START:
            found[piece[:START]].add(len(piece))
    return {start: tuple(sorted(each, reverse=True)) for start, each in found.items()}
