"""OpenAI's Responses API."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath

from gateway import sse
from gateway.errors import InvalidRequest, PreviousResponseNotFound, ResponseNotFound
from gateway.keys import visit
from gateway.openai.errors import ErrorReply
from gateway.openai.responses import ResponseRequest
from gateway.openai.responses_events import EVENTS
from gateway.openai.responses_reply import Deleted, InputItemList, InputTokens
from gateway.openai.responses_reply import Response as Shown
from gateway.openapi.failures import BODY, GENERATION, MODEL, TEXT
from gateway.openapi.operation import Parameter, as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.detached import Detached, Following, split_events
from gateway.routes.history import items_of
from gateway.routes.naming import find_here, needed_model
from gateway.routes.paging import PARAMETERS, read_page
from gateway.routes.prepare import prepared
from gateway.routes.respond import JSON, respond
from gateway.routes.responding import make_responding
from gateway.routes.services import Services, services_of
from gateway.store import Kept
from gateway.translate.responses import check_response

_decoder = msgspec.json.Decoder(ResponseRequest)
_encode = msgspec.json.Encoder().encode

_Request = Request[Any, Any, Any]
_UNKNOWN = ResponseNotFound("")
_GOES_ON = (PreviousResponseNotFound(""),)
_STREAM = Parameter(
    "stream",
    "query",
    "Its events, of one that was streamed from the background.",
    {"type": "boolean"},
)
_STARTING_AFTER = Parameter(
    "starting_after", "query", "The number of the last event that is known.", {"type": "integer"}
)


class ResponsesController(Controller):
    path = "/v1/responses"

    @post(
        status_code=200,
        opt=operation(
            "create_response",
            "Make a response",
            "Responses",
            as_json(Shown, ErrorReply),
            as_stream(sse.NAMED, *EVENTS),
            scope="infer",
            body=_decoder,
            failures=(*GENERATION, *_GOES_ON),
        ),
    )
    async def create(self, request: _Request) -> Response[Any]:
        services = services_of(request)
        asked = await _read(request, services)
        is_stream = asked.stream or False
        if not asked.background:
            responding = await make_responding(services, asked, is_stream=is_stream)
            return await respond(request, services, responding, is_stream=is_stream)
        responding = await make_responding(services, asked, is_stream=True)
        # what is wrong with the request itself is an error at once
        responding.exchange.read(await needed_model(services, asked.model))
        detached = Detached(services, responding)
        if is_stream:
            return await _follow(request, services, detached, after=-1)
        return _json(detached.reply.response)

    @post(
        "/input_tokens",
        status_code=200,
        opt=operation(
            "count_response_tokens",
            "How long a response's prompt is",
            "Responses",
            as_json(InputTokens),
            scope="infer",
            body=_decoder,
            failures=(*BODY, *MODEL, *TEXT, *_GOES_ON),
        ),
    )
    async def count(self, request: _Request) -> Response[Any]:
        services = services_of(request)
        asked = await _read(request, services)
        responding = await make_responding(services, asked, is_stream=False)
        model = await find_here(services, asked.model)
        job = responding.exchange.read(model)
        async with prepared(services, model, job.prompts) as (prompt,):
            return _json(InputTokens(len(prompt.token_ids)))

    @get(
        "/{response_id:str}",
        opt=operation(
            "retrieve_response",
            "A response that is kept",
            "Responses",
            as_json(Shown),
            as_stream(sse.NAMED, *EVENTS),
            scope="infer",
            parameters=(_STREAM, _STARTING_AFTER),
            failures=(_UNKNOWN, InvalidRequest("")),
        ),
    )
    async def retrieve(self, request: _Request, response_id: FromPath[str]) -> Response[Any]:
        """As JSON, or the events of one that was made in the background with stream=true."""
        services = services_of(request)
        is_stream = request.query_params.get("stream", "").casefold() in {"true", "1"}
        detached = _running(services, response_id)
        if detached is not None:
            if is_stream:
                return await _follow(request, services, detached, _read_after(request))
            return _json(detached.reply.response)
        kept = await _find(services, response_id)
        if is_stream:
            return _replay(kept, _read_after(request))
        return Response(kept.response, media_type=JSON)

    @delete(
        "/{response_id:str}",
        status_code=200,
        opt=operation(
            "delete_response",
            "Forget a response",
            "Responses",
            as_json(Deleted),
            scope="infer",
            failures=(_UNKNOWN,),
        ),
    )
    async def remove(self, request: _Request, response_id: FromPath[str]) -> Response[Any]:
        """One that is still being made is stopped first."""
        services = services_of(request)
        if detached := _running(services, response_id):
            await detached.cancel()
        if not await services.store.delete(response_id, visit().key.id):
            raise ResponseNotFound(response_id)
        return _json(Deleted(response_id))

    @post(
        "/{response_id:str}/cancel",
        status_code=200,
        opt=operation(
            "cancel_response",
            "Stop a response in the background",
            "Responses",
            as_json(Shown),
            scope="infer",
            failures=(_UNKNOWN, InvalidRequest("")),
        ),
    )
    async def cancel(self, request: _Request, response_id: FromPath[str]) -> Response[Any]:
        """Of one that has ended nothing changes."""
        services = services_of(request)
        if detached := _running(services, response_id):
            await detached.cancel()
            return _json(detached.reply.response)
        kept = await _find(services, response_id)
        if not msgspec.json.decode(kept.response)["background"]:
            raise InvalidRequest("Only a response with background=true can be cancelled.")
        return Response(kept.response, media_type=JSON, status_code=200)

    @get(
        "/{response_id:str}/input_items",
        opt=operation(
            "list_response_items",
            "What a request brought",
            "Responses",
            as_json(InputItemList),
            scope="infer",
            parameters=PARAMETERS,
            failures=(_UNKNOWN, InvalidRequest("")),
        ),
    )
    async def list_items(self, request: _Request, response_id: FromPath[str]) -> Response[Any]:
        """What the request itself brought, the last item first unless `order` says otherwise."""
        services = services_of(request)
        detached = _running(services, response_id)
        items = detached.items if detached else items_of(await _find(services, response_id))
        return _json(read_page(items, request.query_params))


async def _read(request: _Request, services: Services) -> ResponseRequest:
    asked = decode(await read_body(request, services.settings.limits.body_seconds), _decoder)
    check_response(asked)
    return asked


def _running(services: Services, response_id: str) -> Detached | None:
    """One that is being made in the background, for the key that asked for it."""
    detached = services.detached.get(response_id)
    return detached if detached and detached.owner == visit().key.id else None


async def _find(services: Services, response_id: str) -> Kept:
    kept = await services.store.get(response_id, visit().key.id)
    if kept is None:
        raise ResponseNotFound(response_id)
    return kept


async def _follow(
    request: _Request, services: Services, detached: Detached, after: int
) -> Response[Any]:
    return await respond(request, services, Following(detached, after), is_stream=True)


def _replay(kept: Kept, after: int) -> Response[Any]:
    if kept.events is None:
        raise InvalidRequest(
            "stream: only a response with background=true and stream=true can be streamed again.",
            "stream",
        )
    events = split_events(kept.events)[after + 1 :]
    return Response(b"".join(events), media_type=sse.MEDIA_TYPE, status_code=200)


def _read_after(request: _Request) -> int:
    value = request.query_params.get("starting_after", "-1")
    try:
        return max(int(value), -1)
    except ValueError:
        raise InvalidRequest("starting_after: a number is wanted", "starting_after") from None


def _json(reply: msgspec.Struct) -> Response[Any]:
    return Response(_encode(reply), media_type=JSON, status_code=200)
