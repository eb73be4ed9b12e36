"""Texts to tokens and back, and chats to prompts. Needs no model in memory, only its text side."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from engine.api import Prompt, Spelling, TextPrompt, TokenPrompt
from gateway.catalog.models import KnownModel
from gateway.errors import InvalidRequest
from gateway.llamacpp.tokens import (
    DetokenizeRequest,
    Piece,
    Rendered,
    Text,
    TokenizeRequest,
    Tokens,
)
from gateway.openai.chat import ChatRequest
from gateway.openapi.failures import BODY, MODEL, TEXT
from gateway.openapi.operation import as_json, operation
from gateway.routes.body import decode, read_body
from gateway.routes.models import shown_context
from gateway.routes.naming import find_here
from gateway.routes.prepare import prepared
from gateway.routes.services import Services, services_of
from gateway.translate.chat import read_chat
from gateway.translate.presets import preset_chat
from gateway.translate.sampling import check_token_ids

_tokenize = msgspec.json.Decoder(TokenizeRequest)
_detokenize = msgspec.json.Decoder(DetokenizeRequest)
_chat = msgspec.json.Decoder(ChatRequest)
_encode = msgspec.json.Encoder().encode


class TokenController(Controller):
    @post(
        "/tokenize",
        status_code=200,
        opt=operation(
            "tokenize",
            "Text to tokens",
            "Tokens",
            as_json(Tokens),
            scope="infer",
            body=_tokenize,
            failures=(*BODY, *MODEL, *TEXT),
        ),
    )
    async def tokenize(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services, body = services_of(request), await _body(request)
        wanted = decode(body, _tokenize)
        model = await _resolve(services, wanted.model)
        prompt = _prompt_of(wanted, body, model)
        ids, spelling = await _spell(services, model, prompt)
        tokens: list[int | Piece] = [*ids]
        if wanted.with_pieces:
            pairs = zip(ids, spelling.pieces, strict=True)
            tokens = [Piece(token_id, _shown(raw)) for token_id, raw in pairs]
        strings = [raw.decode(errors="replace") for raw in spelling.pieces]
        context_length = shown_context(services, model)
        return _json(
            Tokens(tokens, len(ids), context_length, strings if wanted.return_token_strs else None)
        )

    @post(
        "/detokenize",
        status_code=200,
        opt=operation(
            "detokenize",
            "Tokens to text",
            "Tokens",
            as_json(Text),
            scope="infer",
            body=_detokenize,
            failures=(*BODY, *MODEL, *TEXT),
        ),
    )
    async def detokenize(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        wanted = decode(await _body(request), _detokenize)
        model = await _resolve(services, wanted.model)
        check_token_ids(wanted.tokens, model.card, "tokens")
        _, spelling = await _spell(services, model, TokenPrompt(wanted.tokens))
        return _json(Text(spelling.text, spelling.text))

    @post(
        "/apply-template",
        status_code=200,
        opt=operation(
            "apply_template",
            "A conversation as the model reads it",
            "Tokens",
            as_json(Rendered),
            scope="infer",
            body=_chat,
            failures=(*BODY, *MODEL, *TEXT),
        ),
    )
    async def apply_template(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The prompt that a chat completion with this body would have."""
        services = services_of(request)
        chat = decode(await _body(request), _chat)
        model = await find_here(services, chat.model)
        _, spelling = await _spell(services, model, _read_chat(chat, model))
        return _json(Rendered(spelling.text))


async def _body(request: Request[Any, Any, Any]) -> bytes:
    return await read_body(request, services_of(request).settings.limits.body_seconds)


async def _resolve(services: Services, name: str | None) -> KnownModel:
    return only_model(services) if name is None else await find_here(services, name)


def only_model(services: Services) -> KnownModel:
    """llama.cpp has one model, so its clients may name none; then it is clear only if there is one."""
    models = services.models
    if len(models) != 1:
        raise InvalidRequest("model: which of them?", "model")
    return models[0]


def _prompt_of(request: TokenizeRequest, body: bytes, model: KnownModel) -> Prompt:
    if request.messages is not None:
        fields = msgspec.json.decode(body) | {"model": model.id}
        return _read_chat(msgspec.convert(fields, ChatRequest), model)
    if request.content is not None:
        return TextPrompt(request.content, request.add_special, request.parse_special)
    if request.prompt is not None:
        return TextPrompt(request.prompt, request.add_special_tokens)
    raise InvalidRequest("content, prompt or messages: one of them is needed", "content")


def _read_chat(request: ChatRequest, model: KnownModel) -> Prompt:
    return read_chat(preset_chat(request, model.defaults), model.card, max_choices=1).prompts[0]


async def _spell(
    services: Services, model: KnownModel, prompt: Prompt
) -> tuple[list[int], Spelling]:
    """Token ids of a prompt, and what they read; an empty one has none, and is no error here."""
    if _is_empty(prompt):
        return [], Spelling("", [])
    async with prepared(services, model, [prompt]) as (done,):
        return done.token_ids, await services.engine.spell(done.ticket)


def _is_empty(prompt: Prompt) -> bool:
    match prompt:
        case TokenPrompt(token_ids):
            return not token_ids
        case TextPrompt(text, adds_bos):
            return not (text or adds_bos)
        case _:
            return False


def _shown(raw: bytes) -> str | list[int]:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
