"""What stands at an editor's cursor. Streams end with their last piece, as llama.cpp's do."""

from typing import Any, Final

import msgspec
from litestar import Controller, Request, Response, post

from gateway import sse
from gateway.catalog.models import KnownModel
from gateway.llamacpp.infill import InfillAnswer, InfillRequest
from gateway.openai.errors import ErrorReply
from gateway.openapi.failures import GENERATION
from gateway.openapi.operation import as_json, as_stream, operation
from gateway.routes.body import decode, read_body
from gateway.routes.exchange import Exchange
from gateway.routes.respond import respond
from gateway.routes.services import services_of
from gateway.routes.tokens import only_model
from gateway.translate.infill import InfillReply, read_infill
from gateway.translate.job import Job

_decoder = msgspec.json.Decoder(InfillRequest)
FRAMING: Final = sse.Framing(closing=b"")


class InfillController(Controller):
    @post(
        "/infill",
        status_code=200,
        opt=operation(
            "infill",
            "Fill a gap in a text",
            "Completions",
            as_json(InfillAnswer, ErrorReply),
            as_stream(FRAMING, InfillAnswer, ErrorReply),
            scope="infer",
            body=_decoder,
            failures=GENERATION,
        ),
    )
    async def create(self, request: Request[Any, Any, Any]) -> Response[Any]:
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        wanted = decode(body, _decoder)

        def read(model: KnownModel) -> Job:
            return read_infill(wanted, model)

        name = wanted.model or only_model(services).id
        exchange = Exchange(services, name, read, InfillReply, FRAMING)
        return await respond(request, services, exchange, is_stream=wanted.stream or False)
