from pathlib import PurePath
from typing import Any

import msgspec
from litestar import Request, Response, get
from litestar.params import FromPath

from gateway.anthropic.models import Model as AnthropicModel
from gateway.anthropic.models import ModelList as AnthropicList
from gateway.catalog.models import KnownModel
from gateway.openai.models import Model, ModelList
from gateway.openapi.failures import MODEL
from gateway.openapi.operation import Parameter, as_json, operation
from gateway.pool import TooLarge
from gateway.routes.lease import promised, terms_of
from gateway.routes.naming import all_models, find_model
from gateway.routes.pulls import PullController
from gateway.routes.services import Services, services_of
from gateway.translate import anthropic
from gateway.translate.models import read_model, read_remote

LIST_SECONDS = 5.0
"""How long a list waits for what is new in the folder; clients give it a few seconds in all."""

_ANTHROPIC = Parameter(
    "anthropic-version", "header", "Any: the answer has Anthropic's shape.", {"type": "string"}
)

_encode = msgspec.json.Encoder().encode


class ModelController(PullController):
    """Litestar wants all that answers at one path in one controller."""

    @get(
        ["/v1/models", "/models"],
        opt=operation(
            "list_models",
            "The models that there are",
            "Models",
            as_json(ModelList, AnthropicList),
            scope="infer",
            parameters=(_ANTHROPIC,),
        ),
    )
    async def list_all(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        await services.catalog.wait(LIST_SECONDS)
        await services.upstreams.looked(LIST_SECONDS)
        if _is_anthropic(request):
            return _json(_anthropic_list(services))
        return _json(ModelList([shown_model(services, model) for model in all_models(services)]))

    @get(
        "/v1/models/{model_id:path}",
        opt=operation(
            "retrieve_model",
            "One model",
            "Models",
            as_json(Model, AnthropicModel),
            scope="infer",
            parameters=(_ANTHROPIC,),
            failures=MODEL,
        ),
    )
    async def retrieve(
        self, request: Request[Any, Any, Any], model_id: FromPath[PurePath]
    ) -> Response[bytes]:
        """The id as it is or with its slashes as %2F: both arrive here alike."""
        services = services_of(request)
        model = await find_model(services, str(model_id).lstrip("/"))
        if _is_anthropic(request):
            return _json(anthropic.read_model(model, shown_context(services, model)))
        return _json(shown_model(services, model))


def _is_anthropic(request: Request[Any, Any, Any]) -> bool:
    """Both APIs list models at one path; only one of them sends this header."""
    return "anthropic-version" in request.headers


def shown_model(services: Services, model: KnownModel) -> Model:
    if model.upstream:
        return read_remote(model)
    status = services.pool.status(model.key, terms_of(model))
    return read_model(model, status, shown_context(services, model))


def _anthropic_list(services: Services) -> AnthropicList:
    models = [
        anthropic.read_model(model, shown_context(services, model))
        for model in all_models(services)
    ]
    first, last = (models[0].id, models[-1].id) if models else (None, None)
    return AnthropicList(models, first, last)


def shown_context(services: Services, model: KnownModel) -> int:
    """One that cannot be served here is listed with what it would have elsewhere."""
    if model.upstream:
        return model.card.context_length
    fit = services.pool.fit(model.card, terms_of(model), model.key)
    tokens = model.card.context_length if isinstance(fit, TooLarge) else fit.placement.kv_tokens
    return promised(model, tokens)


def _json(reply: msgspec.Struct) -> Response[bytes]:
    return Response(_encode(reply), media_type="application/json")
