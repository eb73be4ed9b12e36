"""Tokenizers from a GGUF file's metadata alone."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import structlog
import tokenizers
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from engine.api import EngineError
from engine.text.merges import merges_from_scores, merges_from_strings
from engine.text.pieces import SPACE_MARK
from engine.text.split import DEFAULT, PRE_TOKENIZERS, PreTokenizer
from engine.text.stops import find_stop_ids
from engine.text.tokenizer import Specials, ids_among
from engine.text.vocabulary import Vocabulary
from engine.text.word_piece import ends_of, from_vocabulary, surround

log = structlog.get_logger()

_KEY = "tokenizer.ggml."
Metadata = Mapping[str, Any]


def build_backend(metadata: Metadata) -> tokenizers.Tokenizer:
    """The tokenizer that the metadata describes; takes seconds for a large vocabulary.

    Raises `EngineError` bad_checkpoint for a kind that is unknown or tables that contradict.
    """
    model = metadata.get(f"{_KEY}model")
    builder = _BUILDERS.get(str(model))
    if builder is None:
        known = ", ".join(sorted(_BUILDERS))
        raise EngineError("bad_checkpoint", f"unknown tokenizer model {model!r}; known: {known}")
    vocabulary = Vocabulary.from_metadata(metadata)
    try:
        backend = builder(metadata, vocabulary)
    except Exception as error:  # the library raises bare Exception for whatever it dislikes
        raise EngineError("bad_checkpoint", f"tokenizer cannot be built: {error}") from error
    _add_tokens(backend, metadata, vocabulary)
    if model == "bert":
        first, last = (
            backend.id_to_token(end) if isinstance(end, int) else None for end in ends_of(metadata)
        )
        if first and last:
            surround(backend, first, last)
    else:
        _join(backend, metadata, read_specials(metadata, backend))
    return backend


def read_specials(metadata: Metadata, backend: tokenizers.Tokenizer) -> Specials:
    """Special tokens, where they go, and what ends a generation."""
    size = backend.get_vocab_size(with_added_tokens=True)
    added = backend.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    return specials_of(metadata, size, backend.token_to_id, special)


def specials_of(
    metadata: Metadata, size: int, id_of: Callable[[str], int | None], special: AbstractSet[str]
) -> Specials:
    """The same of any vocabulary: its size, the id of a text, and texts of control tokens."""

    def token_id(name: str) -> int | None:
        value = metadata.get(f"{_KEY}{name}_token_id")
        return value if isinstance(value, int) and 0 <= value < size else None

    bos, eos = token_id("bos"), token_id("eos")
    if metadata.get(f"{_KEY}model") == "bert":
        first, last = (
            (i,) if isinstance(i, int) and 0 <= i < size else () for i in ends_of(metadata)
        )
        return Specials(bos_id=bos, eos_id=eos, prefix=first, suffix=last)
    add_bos = metadata.get(f"{_KEY}add_bos_token", _adds_bos_by_default(metadata))
    # llama.cpp's for unigram vocabularies, which are T5's and XLM-R's
    add_eos = metadata.get(f"{_KEY}add_eos_token", metadata.get(f"{_KEY}model") == "t5")
    return Specials(
        bos_id=bos,
        eos_id=eos,
        prefix=(bos,) if add_bos and bos is not None else (),
        suffix=(eos,) if add_eos and eos is not None else (),
        stop_ids=find_stop_ids((eos, token_id("eot"), token_id("eom")), id_of, special),
        barred_ids=ids_among(metadata.get(f"{_KEY}suppress_tokens")),
    )


def _join(backend: tokenizers.Tokenizer, metadata: Metadata, specials: Specials) -> None:
    """Has pairs as llama.cpp's server has them, A EOS SEP B EOS, behind a BOS if there is one.

    ModernBERT's EOS is its SEP, and comes once, whatever its file says.
    """
    first, last = (
        [str(backend.id_to_token(i)) for i in ids] for ids in (specials.prefix, specials.suffix)
    )
    sep = metadata.get(f"{_KEY}seperator_token_id")  # so misspelled in the format
    is_modern = metadata.get("general.architecture") == "modern-bert"
    between = [*last]
    if metadata.get(f"{_KEY}add_sep_token") and isinstance(sep, int) and not is_modern:
        between.append(str(backend.id_to_token(sep)))
    if not between:
        return
    names = {*first, *between}
    second = [f"{name}:1" for name in last]
    backend.post_processor = processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *between, "$B:1", *second],
        special_tokens=[(name, backend.token_to_id(name)) for name in sorted(names)],
    )


def _adds_bos_by_default(metadata: Metadata) -> bool:
    model = metadata.get(f"{_KEY}model")
    if model == "gpt2":
        return PRE_TOKENIZERS.get(str(metadata.get(f"{_KEY}pre")), DEFAULT).add_bos
    return model in {"llama", "gemma4"}


def _byte_level(metadata: Metadata, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    pre = _pre_tokenizer(metadata)
    merges = merges_from_strings(metadata.get(f"{_KEY}merges"), vocabulary.ids)
    model = models.BPE(vocabulary.ids, merges, ignore_merges=pre.ignore_merges)
    backend = tokenizers.Tokenizer(model)
    if pre.nfc:
        backend.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns]
    bytes_step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*steps, bytes_step])
    backend.decoder = decoders.ByteLevel()
    return backend


def _pre_tokenizer(metadata: Metadata) -> PreTokenizer:
    name = metadata.get(f"{_KEY}pre", "default")
    pre = PRE_TOKENIZERS.get(str(name))
    if pre is None:
        log.warning("unknown_pre_tokenizer", name=name, used="default")
        return DEFAULT
    return pre


def _spaced_bpe(metadata: Metadata, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """SentencePiece BPE: spaces marked, merges by score, unknown characters as bytes."""
    merges = merges_from_scores(vocabulary)
    return _spaced(metadata, vocabulary, merges, add_space=True)


def _spaced_bpe_with_merges(metadata: Metadata, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    """As `_spaced_bpe`, with the merges listed (Gemma 4)."""
    merges = merges_from_strings(metadata.get(f"{_KEY}merges"), vocabulary.ids)
    return _spaced(metadata, vocabulary, merges, add_space=False)


def _spaced(
    metadata: Metadata, vocabulary: Vocabulary, merges: list[tuple[str, str]], *, add_space: bool
) -> tokenizers.Tokenizer:
    model = models.BPE(
        vocabulary.ids,
        merges,
        unk_token=vocabulary.unknown_text(metadata.get(f"{_KEY}unknown_token_id")),
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = tokenizers.Tokenizer(model)
    mark = normalizers.Replace(" ", SPACE_MARK)
    steps = [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if metadata.get(f"{_KEY}add_space_prefix", add_space):
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE_MARK), mark])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        backend.normalizer = mark
    backend.decoder = decoders.Sequence(steps)
    return backend


def _unigram(metadata: Metadata, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    pieces = list(zip(vocabulary.texts, vocabulary.scores, strict=True))
    unknown = metadata.get(f"{_KEY}unknown_token_id", 2)
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unknown, byte_fallback=True))
    steps: list[normalizers.Normalizer] = []
    if charsmap := metadata.get(f"{_KEY}precompiled_charsmap"):
        steps.append(normalizers.Precompiled(bytes(value & 0xFF for value in charsmap)))
    if metadata.get(f"{_KEY}remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    backend.normalizer = normalizers.Sequence(steps)
    scheme = "always" if metadata.get(f"{_KEY}add_space_prefix", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(SPACE_MARK, scheme)
    backend.decoder = decoders.Metaspace(SPACE_MARK, scheme)
    return backend


def _add_tokens(backend: tokenizers.Tokenizer, metadata: Metadata, vocabulary: Vocabulary) -> None:
    # Phi-3's file drops the white space after its turn marks, and GGUF has no key to say so.
    name = str(metadata.get("general.name", "")).lower()
    strips = "phi-3" in name or "phi3" in name
    keeps_space = {"<unk>", "<s>", "<|endoftext|>"}
    control = [
        AddedToken(text, rstrip=strips and text not in keeps_space, normalized=False, special=True)
        for text in vocabulary.control
    ]
    backend.add_special_tokens(control)
    user = [AddedToken(text, normalized=False) for text in vocabulary.user_defined]
    backend.add_tokens(user)


_BUILDERS: Mapping[str, Callable[[Metadata, Vocabulary], tokenizers.Tokenizer]] = {
    "gpt2": _byte_level,
    "llama": _spaced_bpe,
    "gemma4": _spaced_bpe_with_merges,
    "t5": _unigram,
    "bert": from_vocabulary,
}
