"""RWKV's tokenizer, from GGUF metadata and from its own vocabulary file."""

import re

from engine.api import EngineError
from engine.checkpoint import SafetensorsCheckpoint
from engine.text.from_folder import declared_ends, read_json
from engine.text.from_gguf import Metadata, specials_of
from engine.text.greedy import GreedyTokenizer
from engine.text.stops import find_stop_ids
from engine.text.tokenizer import Specials
from engine.text.vocabulary import CONTROL, NORMAL, UNKNOWN, Vocabulary

VOCABULARY_FILE = "rwkv_vocab_v20230424.txt"
MAX_FILE_BYTES = 32 * 2**20
MAX_ID = 2**20

END_ID = 0
"""What begins and ends a text. The vocabulary file leaves it out."""

END_NAME = "<s>"
END_OF_TURN = b"\n\n"
"""Turns are "User: ..." and "Assistant: ...", and what ends one is in none of them."""

_LINE = re.compile(r"(?a:(\d{1,7})) (b?)('.*'|\".*\") (?a:(\d{1,4}))")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.?))", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


def is_of(metadata: Metadata) -> bool:
    """Whether a GGUF file's tokenizer is RWKV's."""
    return metadata.get("tokenizer.ggml.model") == "rwkv"


def from_gguf(metadata: Metadata) -> GreedyTokenizer:
    """Raises `EngineError` bad_checkpoint for a table that is none of RWKV's."""
    vocabulary = Vocabulary.from_metadata(metadata, unique=False)  # tokens may be called as others
    rows = list(enumerate(zip(vocabulary.texts, vocabulary.types, strict=True)))
    names = {token_id: text for token_id, (text, kind) in rows if kind in (CONTROL, UNKNOWN)}
    by_name = {name: token_id for token_id, name in names.items()}
    specials = specials_of(metadata, len(rows), by_name.get, by_name.keys())
    try:
        pieces = {i: unescaped(text, is_bytes=True) for i, (text, kind) in rows if kind == NORMAL}
        return GreedyTokenizer(pieces, names, specials)
    except ValueError as error:
        raise _error(str(error)) from error


def from_folder(checkpoint: SafetensorsCheckpoint) -> GreedyTokenizer | None:
    """None for a folder without the vocabulary file. Raises `EngineError` bad_checkpoint."""
    text = checkpoint.read_text(VOCABULARY_FILE, MAX_FILE_BYTES)
    if text is None:
        return None
    pieces = read_vocabulary(text)
    config = read_json(checkpoint, "tokenizer_config.json")
    name = config.get("eos_token")
    names = {END_ID: name if isinstance(name, str) and name else END_NAME}
    turns = [token_id for token_id, piece in pieces.items() if piece == END_OF_TURN]
    ends = find_stop_ids({END_ID, *turns, *declared_ends(checkpoint)}, _nothing, {*names.values()})
    prefix = (END_ID,) if config.get("add_bos_token") is True else ()
    try:
        return GreedyTokenizer(pieces, names, Specials(END_ID, END_ID, prefix, (), ends))
    except ValueError as error:
        raise _error(str(error)) from error


def _nothing(_: str) -> None:
    """Its tokens are no names."""


def read_vocabulary(text: str) -> dict[int, bytes]:
    """Of lines such as `66 'A' 1`: an id, a Python literal of text or bytes, and its bytes' count.

    Raises `EngineError` bad_checkpoint, with the line, for what is none. Nothing is evaluated.
    """
    pieces: dict[int, bytes] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            token_id, piece = _read_line(line.removesuffix("\r"))
        except ValueError as error:
            raise _error(f"{VOCABULARY_FILE}, line {number}: {error}") from error
        if token_id in pieces:
            raise _error(f"{VOCABULARY_FILE}, line {number}: id {token_id} is there twice")
        pieces[token_id] = piece
    return pieces


def _read_line(line: str) -> tuple[int, bytes]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{line[:80]!r} is not an id, a literal and a length")
    token_id, kind, literal, length = match.groups()
    if not END_ID < int(token_id) <= MAX_ID:
        raise ValueError(f"id {token_id} is not within 1..{MAX_ID}")
    body = literal[1:-1]
    if literal[0] in _ESCAPE.sub("", body):
        raise ValueError(f"{literal[:80]} has a quote within")
    piece = unescaped(body, is_bytes=bool(kind))
    if len(piece) != int(length):
        raise ValueError(f"{literal[:80]} has {len(piece)} bytes, not {length}")
    return int(token_id), piece


def unescaped(body: str, *, is_bytes: bool) -> bytes:
    """The bytes of what stands between the quotes of a literal, as Python's `repr` writes it.

    Raises ValueError for an escape that `repr` does not write, and for bytes that are not ASCII.
    """
    if is_bytes and not body.isascii():
        raise ValueError(f"{body[:80]!r} is not ASCII")
    return _ESCAPE.sub(_character, body).encode("latin-1" if is_bytes else "utf-8")


def _character(match: re.Match[str]) -> str:
    byte, short, long, plain = match.groups()
    if plain is None:
        return chr(int(byte or short or long, 16))
    if plain not in _ESCAPED:
        raise ValueError(f"\\{plain} is no escape")
    return _ESCAPED[plain]


def _error(what: str) -> EngineError:
    return EngineError("bad_checkpoint", f"tokenizer: {what}")
