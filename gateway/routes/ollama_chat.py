"""Ollama's chats, generations and embeddings. Its streams are a line of JSON for each piece."""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, post

from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.errors import ErrorHandler, Problem
from gateway.ollama.replies import ChatAnswer, EmbedAnswer, Failure, GenerateAnswer, OldEmbedAnswer
from gateway.ollama.requests import ChatRequest, EmbedRequest, GenerateRequest, OldEmbedRequest
from gateway.openai.errors import ErrorReply
from gateway.openapi.failures import GENERATION, VECTORS
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.ollama_load import Loading
from gateway.routes.respond import Source, respond
from gateway.routes.services import Services, services_of
from gateway.routes.vectors import VectorExchange
from gateway.translate.job import Job
from gateway.translate.ollama_embed import read_embed_job, read_old_embed_job
from gateway.translate.ollama_reply import Kind, OllamaReply
from gateway.translate.ollama_requests import model_name, read_chat_job, read_generate_job
from gateway.translate.vectors import VectorJob

_chat = msgspec.json.Decoder(ChatRequest)
_generate = msgspec.json.Decoder(GenerateRequest)
_embed = msgspec.json.Decoder(EmbedRequest)
_old_embed = msgspec.json.Decoder(OldEmbedRequest)
_encode = msgspec.json.Encoder().encode


def _line(message: msgspec.Struct) -> bytes:
    return _encode(message) + b"\n"


def _failure(reply: ErrorReply) -> Failure:
    return Failure(reply.error.message)


def shape_problem(problem: Problem) -> tuple[int, msgspec.Struct]:
    """Status and body."""
    return problem.status, _failure(problem.reply)


FRAMING: Final = sse.Framing(
    event=_line,
    # before a line's JSON, where parsers skip it; they would stumble over an empty line
    filler=lambda _: b" ",
    failure=lambda reply: _line(_failure(reply)),
    closing=b"",
    media_type="application/x-ndjson",
    error=_failure,
)


class OllamaChatController(Controller):
    exception_handlers = {Exception: ErrorHandler(shape_problem)}  # noqa: RUF012 - Litestar's way

    @post(
        "/api/chat",
        status_code=200,
        opt=operation(
            "create_ollama_chat",
            "Answer a conversation",
            "Ollama",
            as_json(ChatAnswer, Failure),
            as_stream(FRAMING, ChatAnswer, Failure),
            scope="infer",
            body=_chat,
            failures=GENERATION,
        ),
    )
    async def chat(self, request: Request[Any, Any, Any]) -> Response[Any]:
        chat = decode(await _body(request), _chat)

        def read(model: KnownModel) -> Job:
            return read_chat_job(chat, model)

        exchange = _exchange(services_of(request), chat, read, "chat")
        source = exchange if chat.messages else _loading(exchange, chat, "chat")
        return await _respond(request, source, is_stream=chat.streams)

    @post(
        "/api/generate",
        status_code=200,
        opt=operation(
            "create_ollama_generation",
            "Answer a prompt",
            "Ollama",
            as_json(GenerateAnswer, Failure),
            as_stream(FRAMING, GenerateAnswer, Failure),
            scope="infer",
            body=_generate,
            failures=GENERATION,
        ),
    )
    async def generate(self, request: Request[Any, Any, Any]) -> Response[Any]:
        generation = decode(await _body(request), _generate)

        def read(model: KnownModel) -> Job:
            return read_generate_job(generation, model)

        exchange = _exchange(services_of(request), generation, read, "generate")
        has_text = generation.prompt or generation.suffix
        source = exchange if has_text else _loading(exchange, generation, "generate")
        return await _respond(request, source, is_stream=generation.streams)

    @post(
        "/api/embed",
        status_code=200,
        opt=operation(
            "create_ollama_embeddings",
            "Make vectors of texts",
            "Ollama",
            as_json(EmbedAnswer, Failure),
            scope="infer",
            body=_embed,
            failures=VECTORS,
        ),
    )
    async def embed(self, request: Request[Any, Any, Any]) -> Response[Any]:
        wanted = decode(await _body(request), _embed)
        began = time.monotonic_ns()

        def read(model: KnownModel) -> VectorJob:
            return read_embed_job(wanted, model.card, began)

        name = model_name(wanted.model)
        exchange = VectorExchange(services_of(request), name, read, FRAMING)
        return await _respond(request, exchange, is_stream=False)

    @post(
        "/api/embeddings",
        status_code=200,
        opt=operation(
            "create_ollama_embedding",
            "Make a vector of a text",
            "Ollama",
            as_json(OldEmbedAnswer, Failure),
            scope="infer",
            body=_old_embed,
            failures=VECTORS,
        ),
    )
    async def embed_one(self, request: Request[Any, Any, Any]) -> Response[Any]:
        wanted = decode(await _body(request), _old_embed)

        def read(model: KnownModel) -> VectorJob:
            return read_old_embed_job(wanted, model.card)

        name = model_name(wanted.model)
        exchange = VectorExchange(services_of(request), name, read, FRAMING)
        return await _respond(request, exchange, is_stream=False)


async def _body(request: Request[Any, Any, Any]) -> bytes:
    return await read_body(request, services_of(request).settings.limits.body_seconds)


def _exchange(
    services: Services,
    request: ChatRequest | GenerateRequest,
    read: Callable[[KnownModel], Job],
    kind: Kind,
) -> Exchange:
    began = time.monotonic_ns()

    def reply_of(model_id: str, job: Job) -> OllamaReply:
        return OllamaReply(model_id, job, kind, began)

    return Exchange(services, model_name(request.model), read, reply_of, FRAMING)


def _loading(exchange: Exchange, request: ChatRequest | GenerateRequest, kind: Kind) -> Loading:
    return Loading(exchange, kind, request.keep_alive, is_stream=request.streams)


async def _respond(
    request: Request[Any, Any, Any], source: Source, *, is_stream: bool
) -> Response[Any]:
    return await respond(request, services_of(request), source, is_stream=is_stream)
