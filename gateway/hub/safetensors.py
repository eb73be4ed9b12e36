"""The files of a safetensors model among a repository's, as the engine reads such folders."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from gateway.hub.files import RemoteFile

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SUFFIX = ".safetensors"

_SINGLE = "model.safetensors"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_COMPANIONS = frozenset({
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "rwkv_vocab_v20230424.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
})  # fmt: skip
_TERMS = re.compile(r"(?:LICEN[CS]E|NOTICE|USE_POLICY|COPYING)(?:[-.]\w+)*", re.IGNORECASE)
_MODULE = re.compile(r"\d+_[A-Za-z]+/(?:config\.json|model\.safetensors)")
"""A step of sentence-transformers."""
_TERMS_SUFFIXES = {"", ".txt", ".md"}


def choose(files: tuple[RemoteFile, ...]) -> tuple[RemoteFile, ...]:
    """Weights and all that describes them; nothing where there is no such model."""
    by_path = {file.path: file for file in files}
    weights = _weights(by_path.keys())
    if not weights or CONFIG not in by_path:
        return ()
    companions = {path for path in by_path if is_companion(path)}
    companions |= {INDEX} & by_path.keys() if len(weights) > 1 else set()
    return tuple(by_path[path] for path in sorted({*weights, *companions}))


def is_companion(path: str) -> bool:
    """Whether a file says something of the weights beside it."""
    if path in _COMPANIONS or _MODULE.fullmatch(path):
        return True
    is_terms = bool(_TERMS.fullmatch(path))
    return is_terms and PurePosixPath(path).suffix.lower() in _TERMS_SUFFIXES


def is_weights(path: str) -> bool:
    return path.endswith(SUFFIX) and "/" not in path


def _weights(paths: Collection[str]) -> set[str]:
    """The shards of an index, or the one file, or whatever else there is.

    Beside these a repository may hold the same weights again: Mistral's consolidated.safetensors,
    variants such as model.fp16.safetensors.
    """
    shards = {path for path in paths if _SHARD.fullmatch(path)}
    if INDEX in paths and shards:
        return shards
    if _SINGLE in paths:
        return {_SINGLE}
    return {path for path in paths if is_weights(path) and not path.startswith("adapter_")}
