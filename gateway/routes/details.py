"""What the person who runs the server asks of a model; paths are not for every client."""

import asyncio
from typing import Any

import msgspec
from litestar import Controller, Request, Response, post

from gateway.catalog.licences import licences_of
from gateway.llamacpp.models import ModelName
from gateway.openai.details import ModelDetails
from gateway.openapi.failures import BODY, MODEL
from gateway.openapi.operation import as_json, operation
from gateway.pool import TooLarge
from gateway.routes.body import decode, read_body
from gateway.routes.lease import terms_of
from gateway.routes.models import shown_model
from gateway.routes.services import services_of
from gateway.translate.details import read_details

_name = msgspec.json.Decoder(ModelName)
_encode = msgspec.json.Encoder().encode


class DetailsController(Controller):
    @post(
        "/v1/models/show",
        status_code=200,
        opt=operation(
            "show_model",
            "All that is known of a model",
            "Models",
            as_json(ModelDetails),
            scope="manage",
            body=_name,
            failures=(*BODY, *MODEL),
        ),
    )
    async def show(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        services = services_of(request)
        body = decode(await read_body(request, services.settings.limits.body_seconds), _name)
        model = await services.resolve(body.model)
        fit = services.pool.fit(model.card, terms_of(model))
        forms = {footprint.form: footprint for footprint in model.card.footprints}
        # One that fits nowhere here is told of in the form that it would rather have.
        form = model.card.footprints[0].form if isinstance(fit, TooLarge) else fit.placement.form
        licences = await asyncio.to_thread(licences_of, model.place) if model.place else []
        shown, settings = shown_model(services, model), services.settings
        details = read_details(model, shown, forms[form], licences, settings)
        return Response(_encode(details), media_type="application/json")
