from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway.catalog.catalog import KnownModel
from gateway.openai.completion import CompletionRequest
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.translate.completion import CompletionReply, read_completion
from gateway.translate.job import Job
from gateway.translate.presets import preset_completion

_decoder = msgspec.json.Decoder(CompletionRequest)


class CompletionController(Controller):
    @post("/v1/completions", status_code=200)
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        limits = services.settings.limits
        completion = decode(await read_body(request, limits.body_seconds), _decoder)

        def read(model: KnownModel) -> Job:
            request = preset_completion(completion, model.preset)
            return read_completion(request, model.card, limits.choices, limits.prompts)

        exchange = Exchange(services, completion.model, read, CompletionReply)
        return await respond(request, services, exchange, is_stream=completion.stream or False)
