"""The document says of every route what the code does."""

import json
from typing import get_args

import msgspec
import pytest
from litestar.routes import HTTPRoute

from engine.api import EngineError, ErrorCode
from gateway import errors
from gateway.connections.head import HeadTooLarge
from gateway.openapi import failures
from gateway.translate.anthropic_errors import OVERLOADED_STATUS

BEFORE_ANY_ROUTE = {errors.TooManyConnections, HeadTooLarge}


def operations_of(document):
    return [each for methods in document["paths"].values() for each in methods.values()]


def refs_of(node):
    match node:
        case {"$ref": str(ref)}:
            yield ref
        case dict():
            yield from (ref for value in node.values() for ref in refs_of(value))
        case list():
            yield from (ref for value in node for ref in refs_of(value))


def test_every_route_is_in_it(app, document):
    """With each of its methods, and nothing else; OPTIONS is the framework's, the same everywhere."""
    served = {
        (route.path_format.replace(":path}", "}").replace(":str}", "}"), method.lower())
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    described = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }

    assert described == served


def test_ids_are_unique(document):
    """Generated clients name their methods by them; a further path of a handler has its own."""
    ids = [operation["operationId"] for operation in operations_of(document)]

    assert len(ids) == len(set(ids))
    assert {"rerank", "rerank_at_rerank", "rerank_at_v2_rerank"} <= set(ids)


def test_every_reference_leads_somewhere(document):
    """And every schema is used."""
    found = set(refs_of(document))
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    headers = {f"#/components/headers/{name}" for name in document["components"]["headers"]}

    assert found == schemas | headers


def test_every_answer_tells_its_request(document):
    """The header is on all of them, and those that may be repeated say when."""
    for operation in operations_of(document):
        for status, response in operation["responses"].items():
            assert "X-Request-Id" in response["headers"]
            if status in {"429", "529"}:
                assert "Retry-After" in response["headers"]


@pytest.mark.parametrize("kind", errors.GatewayError.__subclasses__())
def test_every_error_of_ours_is_in_a_group(kind):
    """So that no route forgets what its way can end with."""
    known = {type(error) for error in vars(failures).values() if isinstance(error, Exception)}
    known |= {
        type(e) for group in vars(failures).values() if isinstance(group, tuple) for e in group
    }

    assert kind in known | {errors.ResponseNotFound} | BEFORE_ANY_ROUTE


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_every_code_of_the_engine_has_a_documented_status(document, code):
    """Where a model is used."""
    status = errors.problem_of(EngineError(code, "")).status

    assert str(status) in document["paths"]["/v1/chat/completions"]["post"]["responses"]


def test_each_api_has_its_own_errors(document):
    """By the same function that shapes them; what the edge refuses has OpenAI's shape for all."""
    schemas = {
        path: {
            status: json.dumps(response["content"])
            for status, response in document["paths"][path]["post"]["responses"].items()
        }
        for path in ("/v1/chat/completions", "/v1/messages", "/api/chat")
    }

    assert "openai.errors.ErrorReply" in schemas["/v1/chat/completions"]["404"]
    assert "anthropic.errors.ErrorReply" in schemas["/v1/messages"][str(OVERLOADED_STATUS)]
    assert "Failure" in schemas["/api/chat"]["507"]
    assert all("openai.errors.ErrorReply" in answers["403"] for answers in schemas.values())


def test_it_can_be_sent(document):
    """No value is left that JSON cannot say."""
    assert json.loads(msgspec.json.encode(document)) == document
