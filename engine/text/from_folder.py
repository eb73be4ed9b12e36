"""Tokenizers from a Hugging Face folder: `tokenizer.json` and the files that describe it."""

import json
from collections.abc import Iterator
from typing import Any

import tokenizers

from engine.api import EngineError
from engine.checkpoint import SafetensorsCheckpoint
from engine.text.stops import find_stop_ids
from engine.text.tokenizer import Specials, ids_among
from engine.text.word_piece import from_vocab_txt

MAX_TOKENIZER_BYTES = 256 * 2**20
MAX_CONFIG_BYTES = 16 * 2**20


def read_backend(checkpoint: SafetensorsCheckpoint) -> tokenizers.Tokenizer:
    """The folder's `tokenizer.json`. Raises `EngineError` bad_checkpoint without a good one."""
    text = checkpoint.read_text("tokenizer.json", MAX_TOKENIZER_BYTES)
    if text is None and (vocabulary := checkpoint.read_text("vocab.txt", MAX_TOKENIZER_BYTES)):
        config = read_json(checkpoint, "tokenizer_config.json")
        return from_vocab_txt(vocabulary, lowercase=config.get("do_lower_case") is not False)
    if text is None:
        raise EngineError("bad_checkpoint", f"{checkpoint.path.name} has no tokenizer.json")
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for whatever it dislikes
        message = f"{checkpoint.path.name}/tokenizer.json cannot be read: {error}"
        raise EngineError("bad_checkpoint", message) from error
    backend.no_padding()  # embedding models' files pad to what they were trained with
    backend.no_truncation()
    return backend


def read_json(checkpoint: SafetensorsCheckpoint, name: str) -> dict[str, Any]:
    """A JSON object of the folder; empty where there is no such file."""
    text = checkpoint.read_text(name, MAX_CONFIG_BYTES)
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        message = f"{checkpoint.path.name}/{name} is not JSON: {error}"
        raise EngineError("bad_checkpoint", message) from error
    return value if isinstance(value, dict) else {}


def read_specials(checkpoint: SafetensorsCheckpoint, backend: tokenizers.Tokenizer) -> Specials:
    """Special tokens, where they go, and what ends a generation."""
    names = read_json(checkpoint, "special_tokens_map.json")
    names |= read_json(checkpoint, "tokenizer_config.json")
    bos = _token_id(backend, names.get("bos_token"))
    eos = _token_id(backend, names.get("eos_token"))
    prefix, suffix = _surroundings(backend)
    if names.get("add_bos_token") is False and prefix == (bos,):
        prefix = ()
    if names.get("add_bos_token") is True and bos is not None:
        prefix = prefix or (bos,)
    added = backend.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    declared = {eos, *declared_ends(checkpoint)}
    stop_ids = find_stop_ids(declared, backend.token_to_id, special)
    barred_ids = ids_among(checkpoint.generation_config.get("suppress_tokens"))
    return Specials(bos, eos, prefix, suffix, stop_ids, barred_ids)


def _token_id(backend: tokenizers.Tokenizer, name: object) -> int | None:
    if isinstance(name, dict):  # an AddedToken, written out
        name = name.get("content")
    found: int | None = backend.token_to_id(name) if isinstance(name, str) else None
    return found


def _surroundings(backend: tokenizers.Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the file's post-processor puts before and after a text."""
    plain = backend.encode("a", add_special_tokens=False).ids
    whole = backend.encode("a", add_special_tokens=True).ids
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    return (), ()


def declared_ends(checkpoint: SafetensorsCheckpoint) -> Iterator[int]:
    """What its configs say a generation ends with."""
    for config in (checkpoint.config, checkpoint.generation_config):
        ends = config.get("eos_token_id")
        for end in ends if isinstance(ends, list) else [ends]:
            if isinstance(end, int):
                yield end
