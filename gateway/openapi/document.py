"""The OpenAPI 3.1 document of an app: every route of it whose handler declares an `Operation`."""

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, Final, get_args

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from gateway.errors import ErrorHandler, error_response
from gateway.openapi.answers import HEADERS, Failure, answers_of, failures_of
from gateway.openapi.failures import BUG, EDGE
from gateway.openapi.failures import KEY as KEY_FAILURES
from gateway.openapi.operation import JSON, KEY, Operation, Parameter, Tag
from gateway.openapi.schemas import Schema, Schemas
from gateway.version import own_version

VERSION: Final = "3.1.1"

_ABOUT = """\
One endpoint for every model in a folder, in the words of OpenAI, Anthropic, Ollama and llama.cpp.

Requests are read leniently: `null` is a field's default, a field that is not listed is ignored, and
so is the body's content type. A path answers 405 to methods that it has not, and 204 with `Allow` to
OPTIONS; what is at no path is a 404. Before any of them, a head that is too large is a 431 and one
connection too many a 503. The schema of a `text/event-stream` describes one of its
events; comments (lines that begin with a colon) may stand between them. That of an
`application/x-ndjson` describes one of its lines. A reply that is long in coming may begin with white
space; if it fails after that, its error comes with the status 200.
"""


@dataclass(frozen=True)
class Place:
    """One method of one path, and what its handler declares."""

    path: str
    method: str
    operation_id: str
    operation: Operation
    handler: HTTPRouteHandler
    parameters: tuple[str, ...]
    failures: tuple[Failure, ...]


def document_of(app: Litestar) -> dict[str, Any]:
    places = sorted(_places_of(app), key=_rank)
    schemas = Schemas(
        (place.operation.body.type for place in places if place.operation.body),
        [kind for place in places for kind in _kinds_of(place)],
    )
    paths: dict[str, dict[str, Any]] = {}
    for place in places:
        paths.setdefault(place.path, {})[place.method.lower()] = _described(place, schemas)
    return {
        "openapi": VERSION,
        "info": {"title": "Roundhouse", "version": own_version(), "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in get_args(Tag)],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.components.items())), "headers": HEADERS},
    }


def _rank(place: Place) -> tuple[bool, str]:
    return not place.path.startswith("/v1/"), place.path


def _places_of(app: Litestar) -> Iterator[Place]:
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if operation := handler.opt.get(KEY):
                for method in sorted(handler.http_methods):
                    yield _place(route, method, handler, operation)


def _place(route: HTTPRoute, method: str, handler: HTTPRouteHandler, operation: Operation) -> Place:
    handlers = handler.resolve_exception_handlers()
    responder = handlers.get(Exception)
    shape = responder.shape if isinstance(responder, ErrorHandler) else error_response.shape
    keyed = () if operation.scope == "open" else KEY_FAILURES
    failures = failures_of((*operation.failures, *keyed, BUG), shape)
    failures += failures_of([EDGE], error_response.shape)
    path, names = _template(route)
    identity = _identity(operation, handler, route.path, method)
    return Place(path, method, identity, operation, handler, names, tuple(failures))


def _template(route: HTTPRoute) -> tuple[str, tuple[str, ...]]:
    """The path with its parameters in braces, and their names."""
    parts = [
        part if isinstance(part, str) else f"{{{part.name}}}" for part in route.path_components
    ]
    return "/" + "/".join(parts), tuple(route.path_parameters)


def _identity(operation: Operation, handler: HTTPRouteHandler, path: str, method: str) -> str:
    """Of several paths, the first under /v1 has the id as it is; of several methods, the first."""
    first = min(handler.paths, key=lambda each: (not each.startswith("/v1/"), each))
    is_alias = len(handler.paths) > 1 and path != first
    suffix = "_at" + path.replace("/", "_") if is_alias else ""
    if method != min(handler.http_methods):
        suffix += f"_{method.lower()}"
    return operation.id + suffix


def _kinds_of(place: Place) -> list[Any]:
    kinds = [kind for reply in place.operation.replies for kind in reply.kinds]
    return [*kinds, *(failure.kind for failure in place.failures)]


def _described(place: Place, schemas: Schemas) -> Schema:
    operation = place.operation
    described: Schema = {
        "operationId": place.operation_id,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    if about := place.handler.fn.__doc__:
        described["description"] = cleandoc(about)
    parameters = [_path_parameter(name) for name in place.parameters]
    if parameters := [*parameters, *map(_parameter, operation.parameters)]:
        described["parameters"] = parameters
    if operation.body:
        schema = schemas.any_of([operation.body.type])
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    described["responses"] = answers_of(operation, place.failures, schemas)
    return described


def _path_parameter(name: str) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    }


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "schema": parameter.schema,
    }
