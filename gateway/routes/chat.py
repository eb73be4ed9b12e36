from functools import partial
from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway.openai.chat import ChatRequest
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.translate.chat import ChatReply, read_chat

_decoder = msgspec.json.Decoder(ChatRequest)


class ChatController(Controller):
    @post("/v1/chat/completions", status_code=200)
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        limits = services.settings.limits
        chat = decode(await read_body(request, limits.body_seconds), _decoder)
        read = partial(read_chat, chat, max_choices=limits.choices)
        exchange = Exchange(services, chat.model, read, ChatReply)
        return await respond(request, services, exchange, is_stream=chat.stream or False)
