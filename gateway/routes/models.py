from pathlib import PurePath
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from litestar.params import FromPath

from gateway.catalog.catalog import KnownModel
from gateway.openai.models import Model, ModelList
from gateway.pool import TooLarge
from gateway.routes.lease import terms_of
from gateway.routes.services import Services, services_of
from gateway.translate.models import read_model

LIST_SECONDS = 2.0
"""How long a list waits for what is new in the folder; clients give it a few seconds in all."""

_encode = msgspec.json.Encoder().encode


class ModelController(Controller):
    @get(["/v1/models", "/models"])
    async def list_all(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        await services.catalog.wait(LIST_SECONDS)
        models = [_shown(services, model) for model in services.catalog.models]
        return Response(_encode(ModelList(models)), media_type="application/json")

    @get("/v1/models/{model_id:path}")
    async def retrieve(
        self, request: Request[Any, Any, Any], model_id: FromPath[PurePath]
    ) -> Response[bytes]:
        """The id as it is or with its slashes as %2F: both arrive here alike."""
        services = services_of(request)
        model = await services.catalog.resolve(str(model_id).lstrip("/"))
        return Response(_encode(_shown(services, model)), media_type="application/json")


def _shown(services: Services, model: KnownModel) -> Model:
    terms = terms_of(model)
    fit = services.pool.fit(model.card, terms)
    # one that cannot be served here is listed with what it would have elsewhere
    context_length = (
        model.card.context_length if isinstance(fit, TooLarge) else fit.placement.kv_tokens
    )
    return read_model(model, services.pool.status(model.key, terms), context_length)
