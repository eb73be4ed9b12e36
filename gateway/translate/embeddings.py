"""Embeddings: the request to a `VectorJob`, vectors to the reply."""

import math
import sys
from array import array
from base64 import b64encode
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from engine.api import ModelCard, Prompt, TextPrompt, TokenPrompt
from gateway.errors import InvalidRequest, Unsupported
from gateway.openai.embeddings import (
    EmbeddingObject,
    EmbeddingReply,
    EmbeddingRequest,
    EmbeddingUsage,
)
from gateway.translate.sampling import check_token_ids, read_keep_alive
from gateway.translate.vectors import VectorJob, require_task, values_of

_encode = msgspec.json.Encoder().encode

PROMPT_NAMES: Mapping[str, tuple[str, ...]] = {
    "query": ("query", "search_query"),
    "search_query": ("search_query", "query"),
    "document": ("document", "passage", "search_document"),
    "passage": ("passage", "document", "search_document"),
    "search_document": ("search_document", "document", "passage"),
}
"""What models call the prompts of an input_type, likeliest first."""

MAX_INPUTS = 2048
"""As OpenAI has it."""


def read_embedding(request: EmbeddingRequest, card: ModelCard) -> VectorJob:
    """Raises `InvalidRequest` naming the field at fault."""
    require_task(card, "embedding")
    dimensions = _read_dimensions(request, card)
    written = _base64 if request.encoding_format == "base64" else _json

    def write(model: str, num_tokens: int, vectors: list[bytes]) -> EmbeddingReply:
        return embedding_reply(model, num_tokens, shortened(vectors, dimensions), written)

    before = read_prompt(request, card)
    prompts = tuple(_behind(before, each) for each in read_inputs(request.input, card))
    return VectorJob(
        prompts,
        "input",
        write,
        read_keep_alive(request.keep_alive),
        max_tokens=_read_truncation(request.truncate_prompt_tokens),
    )


def read_prompt(request: EmbeddingRequest, card: ModelCard) -> str:
    """What goes before each text, as it is asked for. Raises `Unsupported` where there is none."""
    param = "prompt_name" if request.prompt_name is not None else "input_type"
    name = request.prompt_name if request.prompt_name is not None else request.input_type
    if name is None:
        return ""
    names = (name,) if param == "prompt_name" else PROMPT_NAMES[name]
    found = next((card.prompts[each] for each in names if each in card.prompts), None)
    if found is None:
        known = ", ".join(sorted(card.prompts)) or "none"
        raise Unsupported(f"{param}: the model has no prompt {name[:80]!r}; it has {known}", param)
    return found


def _behind(before: str, prompt: Prompt) -> Prompt:
    if not before:
        return prompt
    if not isinstance(prompt, TextPrompt):
        raise InvalidRequest("input: no prompt goes before token ids", "input")
    return replace(prompt, text=before + prompt.text)


def _read_truncation(given: int | None) -> int | None:
    """Tokens that inputs are cut to; None for not at all."""
    if given == 0:
        raise InvalidRequest("truncate_prompt_tokens: at least 1, or -1", "truncate_prompt_tokens")
    return sys.maxsize if given == -1 else given


def read_inputs(given: str | list[str | int | list[int]], card: ModelCard) -> list[Prompt]:
    """The prompts of OpenAI's `input`. Raises `InvalidRequest`."""
    entries = [given] if isinstance(given, str) else given
    texts = [entry for entry in entries if isinstance(entry, str)]
    ids = [entry for entry in entries if isinstance(entry, int)]
    lists = [entry for entry in entries if isinstance(entry, list)]
    if not entries or not all(texts) or not all(lists):
        raise InvalidRequest("input: must not be empty, nor hold what is", "input")
    if len(entries) not in (len(texts), len(ids), len(lists)):
        raise InvalidRequest("input: texts, token ids and lists of them do not mix", "input")
    if max(len(texts), len(lists)) > MAX_INPUTS:
        raise InvalidRequest(f"input: at most {MAX_INPUTS} inputs in a request", "input")
    if texts:
        return [TextPrompt(text) for text in texts]
    for entry in lists or [ids]:
        check_token_ids(entry, card, "input")
    return [TokenPrompt(entry) for entry in lists or [ids]]


def embedding_reply(
    model: str,
    num_tokens: int,
    vectors: list[bytes],
    written: Callable[[bytes], list[float] | str | Raw] = values_of,
) -> EmbeddingReply:
    data = [EmbeddingObject(index, written(vector)) for index, vector in enumerate(vectors)]
    return EmbeddingReply(data, model, EmbeddingUsage(num_tokens, num_tokens))


def shortened(vectors: list[bytes], dimensions: int | None) -> list[bytes]:
    """Their first values, of length 1; as they are without `dimensions`."""
    return vectors if dimensions is None else [_short(vector, dimensions) for vector in vectors]


def _short(vector: bytes, dimensions: int) -> bytes:
    values = values_of(vector)[:dimensions]
    length = math.hypot(*values) or 1.0
    return array("f", [value / length for value in values]).tobytes()


def _read_dimensions(request: EmbeddingRequest, card: ModelCard) -> int | None:
    dimensions = request.dimensions
    if dimensions is None or dimensions == card.embedding_size:
        return None
    if not card.is_matryoshka:
        message = f"dimensions: this model's vectors have {card.embedding_size} and no fewer"
        raise Unsupported(message, "dimensions")
    if dimensions > card.embedding_size:
        raise InvalidRequest(f"dimensions: at most {card.embedding_size}", "dimensions")
    return dimensions


def _json(vector: bytes) -> Raw:
    """Vector by vector, so that other threads have their turn in between."""
    return Raw(_encode(values_of(vector)))


def _base64(vector: bytes) -> str:
    return b64encode(vector).decode()
