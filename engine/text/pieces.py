"""What the pieces of a vocabulary stand for, as raw bytes."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
SPACE_MARK = "\u2581"


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes: printable ones stand for themselves."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + index): byte for index, byte in enumerate(others)}


BYTE_ALPHABET: Mapping[str, int] = _byte_alphabet()


def byte_level_piece(piece: str) -> bytes:
    """Bytes of a byte-level piece; one that leaves the alphabet is text as it stands."""
    try:
        return bytes(BYTE_ALPHABET[char] for char in piece)
    except KeyError:
        return piece.encode()


def spaced_piece(piece: str) -> bytes:
    """Bytes of a SentencePiece piece: a byte token, or text with its spaces marked."""
    if byte := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace(SPACE_MARK, " ").encode()


def piece_decoder(steps: Sequence[Mapping[str, Any]]) -> Callable[[str], bytes]:
    """The function from pieces to bytes for a `tokenizer.json` decoder's steps."""
    kinds = {step.get("type") for step in steps}
    if "ByteLevel" in kinds:
        return byte_level_piece
    if kinds & {"ByteFallback", "Metaspace", "Replace"}:
        return spaced_piece
    return str.encode


def drops_first_space(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether decoding takes one space off the start of a text."""
    for step in steps:
        if step.get("type") == "Metaspace" and step.get("prepend_scheme", "always") != "never":
            return True
        if step.get("type") == "Strip" and step.get("start", 0) > 0:
            return True
    return False
