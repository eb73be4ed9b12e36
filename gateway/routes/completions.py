from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.openai.completion import Completion, CompletionRequest
from gateway.openai.errors import ErrorReply
from gateway.openapi.failures import GENERATION
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.translate.completion import read_completion
from gateway.translate.completion_reply import CompletionReply
from gateway.translate.job import Job
from gateway.translate.presets import preset_completion

_decoder = msgspec.json.Decoder(CompletionRequest)


class CompletionController(Controller):
    @post(
        "/v1/completions",
        status_code=200,
        opt=operation(
            "create_completion",
            "Continue texts",
            "Completions",
            as_json(Completion, ErrorReply),
            as_stream(sse.OPENAI, Completion, ErrorReply),
            scope="infer",
            body=_decoder,
            failures=GENERATION,
        ),
    )
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        limits = services.settings.limits
        completion = decode(await read_body(request, limits.body_seconds), _decoder)

        def read(model: KnownModel) -> Job:
            request = preset_completion(completion, model.defaults)
            return read_completion(request, model.card, limits.choices, limits.prompts)

        exchange = Exchange(services, completion.model, read, CompletionReply)
        return await respond(request, services, exchange, is_stream=completion.stream or False)
