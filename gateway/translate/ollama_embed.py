"""Ollama's embeddings: OpenAI's, in other words."""

import time
from dataclasses import replace

import msgspec
from msgspec import Struct

from engine.api import ModelCard
from gateway.ollama.replies import EmbedAnswer, OldEmbedAnswer
from gateway.ollama.requests import EmbedRequest, OldEmbedRequest
from gateway.openai.embeddings import EmbeddingRequest
from gateway.translate.embeddings import read_embedding, shortened
from gateway.translate.vectors import VectorJob, values_of


def read_embed_job(request: EmbedRequest, card: ModelCard, began: int) -> VectorJob:
    """began: when the request came, in nanoseconds of the monotonic clock. Raises `InvalidRequest`."""
    fields = {
        name: getattr(request, name) for name in ("model", "input", "dimensions", "keep_alive")
    }
    fields["truncate_prompt_tokens"] = -1 if request.truncate else None
    job = read_embedding(msgspec.convert(fields, EmbeddingRequest), card)

    def write(model: str, num_tokens: int, vectors: list[bytes]) -> Struct:
        embeddings = [values_of(each) for each in shortened(vectors, request.dimensions)]
        return EmbedAnswer(model, embeddings, time.monotonic_ns() - began, num_tokens)

    return replace(job, write=write)


def read_old_embed_job(request: OldEmbedRequest, card: ModelCard) -> VectorJob:
    """For one text. Raises `InvalidRequest`."""
    fields = {"model": request.model, "input": request.prompt, "keep_alive": request.keep_alive}
    job = read_embedding(msgspec.convert(fields, EmbeddingRequest), card)

    def write(model: str, num_tokens: int, vectors: list[bytes]) -> Struct:
        del model, num_tokens
        return OldEmbedAnswer(values_of(vectors[0]))

    return replace(job, param="prompt", write=write)
