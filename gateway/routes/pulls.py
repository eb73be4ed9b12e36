"""Models brought and removed by requests: llama.cpp's router's way, and OpenAI's deletion."""

from pathlib import PurePath
from typing import Any

import msgspec
from litestar import Controller, Request, Response, delete, post
from litestar.params import FromPath

from gateway.errors import InvalidRequest
from gateway.llamacpp.models import Done, ModelName
from gateway.openai.models import DeletedModel
from gateway.openapi.failures import BODY, MODEL, PULL, REMOVAL
from gateway.openapi.operation import Parameter, as_json, operation
from gateway.routes.body import decode, read_body
from gateway.routes.pulling import allowed_reference, remove_model
from gateway.routes.services import services_of

_MODEL = Parameter("model", "query", "The model's id.", {"type": "string"})

_name = msgspec.json.Decoder(ModelName)
_encode = msgspec.json.Encoder().encode


class PullController(Controller):
    """At the paths of the lists, so that `ModelController` has it as its base."""

    @post(
        "/models",
        status_code=200,
        opt=operation(
            "pull_model",
            "Have a model come from the hub",
            "Models",
            as_json(Done),
            scope="manage",
            body=_name,
            failures=(*BODY, *PULL),
        ),
    )
    async def pull(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Answers when it is ordered; how it goes on, `/models/sse` tells.

        `/models/unload` with the same name ends it.
        """
        services = services_of(request)
        body = await read_body(request, services.settings.limits.body_seconds)
        services.pulls.start(allowed_reference(services, decode(body, _name).model))
        return _json(Done())

    @delete(
        "/models",
        status_code=200,
        opt=operation(
            "remove_model",
            "Remove a model from the models folder",
            "Models",
            as_json(Done),
            scope="manage",
            parameters=(_MODEL,),
            failures=(InvalidRequest(""), *MODEL, *REMOVAL),
        ),
    )
    async def remove(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        name = request.query_params.get("model")
        if not name:
            raise InvalidRequest("model: which? It is a parameter of the query.", "model")
        await remove_model(services_of(request), name)
        return _json(Done())

    @delete(
        "/v1/models/{model_id:path}",
        status_code=200,
        opt=operation(
            "delete_model",
            "Delete a model",
            "Models",
            as_json(DeletedModel),
            scope="manage",
            failures=(*MODEL, *REMOVAL),
        ),
    )
    async def delete(
        self, request: Request[Any, Any, Any], model_id: FromPath[PurePath]
    ) -> Response[bytes]:
        """As `DELETE /models`, in OpenAI's words."""
        name = str(model_id).lstrip("/")
        await remove_model(services_of(request), name)
        return _json(DeletedModel(name))


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
