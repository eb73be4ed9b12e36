"""Reranking: the request to a `VectorJob`, scores to the reply."""

import math

from msgspec import UNSET

from engine.api import ModelCard, PairPrompt
from gateway.errors import InvalidRequest
from gateway.openai.embeddings import EmbeddingUsage
from gateway.openai.rerank import Document, RerankReply, RerankRequest, RerankResult
from gateway.translate.reply import new_id
from gateway.translate.sampling import read_keep_alive
from gateway.translate.vectors import VectorJob, require_task, values_of

MAX_DOCUMENTS = 1024


def read_rerank(request: RerankRequest, card: ModelCard) -> VectorJob:
    """Raises `InvalidRequest` naming the field at fault."""
    require_task(card, "rerank")
    documents = [each if isinstance(each, str) else each.text for each in request.documents]
    if len(documents) > MAX_DOCUMENTS:
        raise InvalidRequest(f"documents: at most {MAX_DOCUMENTS} in a request", "documents")

    def write(model: str, num_tokens: int, vectors: list[bytes]) -> RerankReply:
        scores = [_score(vector) for vector in vectors]
        best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        results = [
            RerankResult(
                index,
                scores[index],
                Document(documents[index]) if request.return_documents else UNSET,
            )
            for index in best[: request.top_n]
        ]
        return RerankReply(new_id("rerank"), model, results, EmbeddingUsage(num_tokens, num_tokens))

    prompts = tuple(PairPrompt(request.query, document) for document in documents)
    return VectorJob(prompts, "documents", write, read_keep_alive(request.keep_alive))


def _score(vector: bytes) -> float:
    """The logistic function of what the model says, as its training read it."""
    (value,) = values_of(vector)
    if value < 0:  # the power must not overflow
        return math.exp(value) / (1 + math.exp(value))
    return 1 / (1 + math.exp(-value))
