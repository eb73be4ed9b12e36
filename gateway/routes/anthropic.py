"""Anthropic's messages API. Whatever its headers say of versions and betas is all the same here."""

from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, post

from gateway import sse
from gateway.anthropic.errors import ErrorReply
from gateway.anthropic.replies import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    TokenCount,
)
from gateway.anthropic.requests import CountRequest, MessagesRequest
from gateway.catalog.models import KnownModel
from gateway.errors import ErrorHandler
from gateway.openapi.failures import BODY, GENERATION, MODEL, TEXT
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.naming import find_here
from gateway.routes.prepare import prepared
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.translate.anthropic import MessageReply, read_message_job, shows_thinking
from gateway.translate.anthropic_errors import read_error, shape_problem
from gateway.translate.job import Job

_messages = msgspec.json.Decoder(MessagesRequest)
_count = msgspec.json.Decoder(CountRequest)
_encode = msgspec.json.Encoder().encode


def _ping(progress: str) -> bytes:
    """The event that its clients know, and for people what is going on."""
    return sse.comment(progress) + sse.named_event(Ping())


FRAMING: Final = sse.Framing(
    event=sse.named_event,
    filler=_ping,
    failure=lambda reply: sse.named_event(read_error(reply)),
    closing=b"",
    error=read_error,
)

EVENTS: Final = (
    MessageStart,
    BlockStart,
    BlockDelta,
    BlockStop,
    MessageDelta,
    MessageStop,
    Ping,
    ErrorReply,
)


class AnthropicController(Controller):
    exception_handlers = {Exception: ErrorHandler(shape_problem)}  # noqa: RUF012 - Litestar's way

    @post(
        "/v1/messages",
        status_code=200,
        opt=operation(
            "create_message",
            "Answer a conversation",
            "Anthropic",
            as_json(Message, ErrorReply),
            as_stream(FRAMING, *EVENTS),
            scope="infer",
            body=_messages,
            failures=GENERATION,
        ),
    )
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        limits = services.settings.limits
        message = decode(await read_body(request, limits.body_seconds), _messages)

        def read(model: KnownModel) -> Job:
            return read_message_job(message, model.card, model.defaults)

        def reply_of(model_id: str, job: Job) -> MessageReply:
            return MessageReply(model_id, job, shows_thinking(message))

        exchange = Exchange(services, message.model, read, reply_of, FRAMING)
        return await respond(request, services, exchange, is_stream=message.stream or False)

    @post(
        "/v1/messages/count_tokens",
        status_code=200,
        opt=operation(
            "count_message_tokens",
            "How long a conversation is",
            "Anthropic",
            as_json(TokenCount),
            scope="infer",
            body=_count,
            failures=(*BODY, *MODEL, *TEXT),
        ),
    )
    async def count_tokens(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Needs the model's tokenizer alone, so it brings no model into memory."""
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        count = decode(body, _count)
        model = await find_here(services, count.model)
        job = read_message_job(count, model.card, model.defaults)
        async with prepared(services, model, job.prompts) as prompts:
            num_tokens = sum(len(prompt.token_ids) for prompt in prompts)
        return Response(_encode(TokenCount(num_tokens)), media_type="application/json")
