"""BERT's tokenizer, where no `tokenizer.json` describes it: from a `vocab.txt` or a GGUF vocabulary."""

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from engine.text.pieces import SPACE_MARK
from engine.text.vocabulary import CONTROL, Vocabulary

_CONTINUED = "##"
_KEY = "tokenizer.ggml."


def word_piece(ids: Mapping[str, int], unknown: str, *, lowercase: bool) -> tokenizers.Tokenizer:
    """Words cut into the longest pieces there are; pieces within a word begin with ##.

    Accents go where letters become small, as in the original.
    """
    model = models.WordPiece(dict(ids), unk_token=unknown, max_input_chars_per_word=100)
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=_CONTINUED, cleanup=False)
    return backend


def surround(backend: tokenizers.Tokenizer, first: str, separator: str) -> None:
    """Has texts begin with one token, and each end with another."""
    ids = [(name, backend.token_to_id(name)) for name in (first, separator)]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {separator}",
        pair=f"{first} $A {separator} $B:1 {separator}:1",
        special_tokens=ids,
    )


def from_vocab_txt(text: str, *, lowercase: bool) -> tokenizers.Tokenizer:
    """A token to a line, its id the line's number."""
    ids = {token: index for index, token in enumerate(text.splitlines())}
    backend = word_piece(ids, "[UNK]", lowercase=lowercase)
    backend.add_special_tokens(
        [name for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if name in ids]
    )
    surround(backend, "[CLS]", "[SEP]")
    return backend


def from_vocabulary(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """GGUF marks the pieces that begin a word, and not those within it."""
    rows = zip(vocabulary.texts, vocabulary.types, strict=True)
    pieces = [_piece(text, is_control=kind == CONTROL) for text, kind in rows]
    unknown = metadata.get(f"{_KEY}unknown_token_id")
    name = pieces[unknown] if isinstance(unknown, int) and unknown < len(pieces) else "[UNK]"
    ids = {piece: index for index, piece in enumerate(pieces)}
    return word_piece(ids, name, lowercase=True)


def ends_of(metadata: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Ids of the tokens that a text begins and ends with."""
    first = metadata.get(f"{_KEY}cls_token_id", metadata.get(f"{_KEY}bos_token_id"))
    # the key is misspelled in the format
    last = metadata.get(f"{_KEY}seperator_token_id", metadata.get(f"{_KEY}eos_token_id"))
    return first, last


def _piece(text: str, *, is_control: bool) -> str:
    if is_control or (text.startswith("[") and text.endswith("]")):
        return text
    marked = text.startswith(SPACE_MARK)
    return text.removeprefix(SPACE_MARK) if marked else f"{_CONTINUED}{text}"
