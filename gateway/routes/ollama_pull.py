"""Ollama's pulls and deletions. Its names are the hub's: `org/name:Q4_K_M`, or after `hf.co/`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, post
from litestar.response import Stream

from gateway.errors import ErrorHandler, InvalidRequest, problem_of
from gateway.hub.errors import HubError
from gateway.hub.pulls import Pull
from gateway.ollama.pulls import DeleteRequest, PullRequest, PullStatus
from gateway.openapi.failures import BODY, BROUGHT, MODEL, REMOVAL
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.ollama_chat import FRAMING, shape_problem
from gateway.routes.pulling import allowed_reference, finish, remove_model
from gateway.routes.services import Services, services_of
from gateway.translate.ollama_pull import BEGUN, SUCCESS, read_report
from gateway.translate.ollama_requests import model_name

_pull = msgspec.json.Decoder(PullRequest)
_delete = msgspec.json.Decoder(DeleteRequest)
_encode = msgspec.json.Encoder().encode


class OllamaPullController(Controller):
    exception_handlers = {Exception: ErrorHandler(shape_problem)}  # noqa: RUF012 - Litestar's way

    @post(
        "/api/pull",
        status_code=200,
        opt=operation(
            "pull_ollama_model",
            "Have a model come from the hub",
            "Ollama",
            as_json(PullStatus),
            as_stream(FRAMING, PullStatus),
            scope="manage",
            body=_pull,
            failures=(*BODY, *BROUGHT),
        ),
    )
    async def pull(self, request: Request[Any, Any, Any]) -> Response[Any]:
        """One that nobody else wants ends with its client; the next goes on from there."""
        services = services_of(request)
        asked = decode(await read_body(request, services.settings.limits.body_seconds), _pull)
        reference = allowed_reference(services, _named(asked))
        pull = services.pulls.start(reference, is_kept=asked.stream is False)
        if asked.stream is False:
            await finish(services, pull)
            return Response(_encode(SUCCESS), media_type="application/json")
        return Stream(_lines(services, pull), media_type=FRAMING.media_type)

    @delete(
        "/api/delete",
        status_code=200,
        opt=operation(
            "delete_ollama_model",
            "Remove a model from the models folder",
            "Ollama",
            scope="manage",
            body=_delete,
            failures=(*BODY, *MODEL, *REMOVAL),
            empty=((200, "It is gone."),),
        ),
    )
    async def delete(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        await remove_model(services, model_name(_named(decode(body, _delete))))
        return Response(b"")


def _named(asked: PullRequest | DeleteRequest) -> str:
    if not (name := asked.model or asked.name):
        raise InvalidRequest("model: which?", "model")
    return name


async def _lines(services: Services, pull: Pull) -> AsyncGenerator[bytes, None]:
    """A line for each report. What fails now can only be told as one of them."""
    yield FRAMING.event(BEGUN)
    try:
        async with aclosing(services.pulls.follow(pull)) as reports:
            async for report in reports:
                if status := read_report(report):
                    yield FRAMING.event(status)
        await finish(services, pull)
        yield FRAMING.event(SUCCESS)
    except HubError as error:
        yield FRAMING.failure(problem_of(error).reply)
