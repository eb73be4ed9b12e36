"""Reranking as Jina and Cohere have it; OpenAI has none."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.openai.embeddings import EmbeddingUsage
from gateway.openai.sampling import PositiveCount


class Document(Struct, frozen=True):
    text: str


class RerankRequest(Struct, frozen=True, kw_only=True):
    """top_n: so many of the best; all by default. return_documents: results carry their texts."""

    model: str
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | Document], Meta(min_length=1)]
    top_n: PositiveCount | None = None
    return_documents: bool | None = None
    keep_alive: str | float | None = None


class RerankResult(Struct, frozen=True):
    """index: the document's place in the request. relevance_score: from 0 to 1."""

    index: int
    relevance_score: float
    document: Document | UnsetType = UNSET


class RerankReply(Struct, frozen=True):
    """results: the best first."""

    id: str
    model: str
    results: list[RerankResult]
    usage: EmbeddingUsage
    object: str = "list"
