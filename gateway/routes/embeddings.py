from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway.catalog.models import KnownModel
from gateway.openai.embeddings import EmbeddingReply, EmbeddingRequest
from gateway.openai.errors import ErrorReply
from gateway.openai.rerank import RerankReply, RerankRequest
from gateway.openapi.failures import VECTORS
from gateway.openapi.operation import as_json, operation
from gateway.routes.body import decode, read_body
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.routes.vectors import VectorExchange
from gateway.translate.embeddings import read_embedding
from gateway.translate.rerank import read_rerank
from gateway.translate.vectors import VectorJob

_embedding = msgspec.json.Decoder(EmbeddingRequest)
_rerank = msgspec.json.Decoder(RerankRequest)


class EmbeddingController(Controller):
    @post(
        "/v1/embeddings",
        status_code=200,
        opt=operation(
            "create_embedding",
            "Make vectors of texts",
            "Embeddings",
            as_json(EmbeddingReply, ErrorReply),
            scope="infer",
            body=_embedding,
            failures=VECTORS,
        ),
    )
    async def embed(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        wanted = decode(body, _embedding)

        def read(model: KnownModel) -> VectorJob:
            return read_embedding(wanted, model.card)

        exchange = VectorExchange(services, wanted.model, read)
        return await respond(request, services, exchange, is_stream=False)

    @post(
        ["/v1/rerank", "/v2/rerank", "/rerank"],
        status_code=200,
        opt=operation(
            "rerank",
            "Sort documents by how well they answer a query",
            "Embeddings",
            as_json(RerankReply, ErrorReply),
            scope="infer",
            body=_rerank,
            failures=VECTORS,
        ),
    )
    async def rerank(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        wanted = decode(body, _rerank)

        def read(model: KnownModel) -> VectorJob:
            return read_rerank(wanted, model.card)

        exchange = VectorExchange(services, wanted.model, read)
        return await respond(request, services, exchange, is_stream=False)
