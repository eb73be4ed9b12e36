from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.openai.chat import ChatChunk, ChatCompletion, ChatRequest
from gateway.openai.errors import ErrorReply
from gateway.openapi.failures import GENERATION
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.translate.chat import read_chat
from gateway.translate.chat_reply import ChatReply
from gateway.translate.job import Job
from gateway.translate.presets import preset_chat

_decoder = msgspec.json.Decoder(ChatRequest)


class ChatController(Controller):
    @post(
        "/v1/chat/completions",
        status_code=200,
        opt=operation(
            "create_chat_completion",
            "Answer a conversation",
            "Chat",
            as_json(ChatCompletion, ErrorReply),
            as_stream(sse.OPENAI, ChatChunk, ErrorReply),
            scope="infer",
            body=_decoder,
            failures=GENERATION,
        ),
    )
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        limits = services.settings.limits
        chat = decode(await read_body(request, limits.body_seconds), _decoder)

        def read(model: KnownModel) -> Job:
            return read_chat(preset_chat(chat, model.defaults), model.card, limits.choices)

        exchange = Exchange(services, chat.model, read, ChatReply)
        return await respond(request, services, exchange, is_stream=chat.stream or False)
