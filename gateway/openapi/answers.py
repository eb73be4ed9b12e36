"""What a route may answer, as response objects by status."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from gateway import sse
from gateway.errors import MAX_RETRY_AFTER_SECONDS, Problem, Shape, problem_of
from gateway.openapi.operation import JSON, Operation, Reply
from gateway.openapi.schemas import Schema, Schemas

_NAMES = {529: "Overloaded"}
"""Of statuses that are nobody's standard."""
_ALWAYS = ("X-Request-Id", "OpenAI-Processing-Ms")
_SOMETIMES = ("Retry-After", "X-Should-Retry")
_RETRIED_FROM = 429
"""The lowest status after which a client may try again on its own."""

HEADERS = {
    "X-Request-Id": {
        "description": "The request's own, if it is 1 to 128 of `A-Za-z0-9._-`; else a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "OpenAI-Processing-Ms": {
        "description": "Milliseconds from the request to these headers.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Retry-After": {
        "description": "Seconds after which it is worth while to try again.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_RETRY_AFTER_SECONDS},
    },
    "X-Should-Retry": {
        "description": "Whether the same request can succeed without anyone's doing.",
        "schema": {"enum": ["true", "false"]},
    },
}


@dataclass(frozen=True)
class Failure:
    """An error as one route sends it. word: how its body says which it is, if it does."""

    status: int
    kind: type[Struct]
    word: str | None


def failures_of(errors: Iterable[Exception], shape: Shape) -> list[Failure]:
    return [_failure(problem_of(error), shape) for error in errors]


def _failure(problem: Problem, shape: Shape) -> Failure:
    status, body = shape(problem)
    detail = msgspec.to_builtins(body)["error"]
    word = (detail.get("code") or detail["type"]) if isinstance(detail, dict) else None
    return Failure(status, type(body), word)


def answers_of(
    operation: Operation, failures: Iterable[Failure], schemas: Schemas
) -> dict[str, Schema]:
    """Status -> response object."""
    by_status: dict[int, list[Failure]] = defaultdict(list)
    for failure in failures:
        by_status[failure.status].append(failure)
    answers = {status: _failed(status, found, schemas) for status, found in by_status.items()}
    for status, reason in operation.empty:
        answers[status] = {"description": reason, "headers": _headers(*_ALWAYS)}
    for status in dict.fromkeys(reply.status for reply in operation.replies):
        replies = [reply for reply in operation.replies if reply.status == status]
        answers[status] = _answered(status, replies, answers.get(status), schemas)
    return {str(status): answers[status] for status in sorted(answers)}


def _answered(status: int, replies: list[Reply], failed: Schema | None, schemas: Schemas) -> Schema:
    content: dict[str, Any] = {reply.media_type: _content(reply, schemas) for reply in replies}
    if failed:  # one status with both meanings
        schema = content[JSON]["schema"]
        content[JSON] = {"schema": {"anyOf": [schema, failed["content"][JSON]["schema"]]}}
    return {"description": _phrase(status), "headers": _headers(*_ALWAYS), "content": content}


def _failed(status: int, failures: list[Failure], schemas: Schemas) -> Schema:
    words = ", ".join(dict.fromkeys(f"`{failure.word}`" for failure in failures if failure.word))
    schema = schemas.any_of(failure.kind for failure in failures)
    names = (*_ALWAYS, *_SOMETIMES) if status >= _RETRIED_FROM else _ALWAYS
    return {
        "description": _phrase(status) + (f": {words}." if words else ""),
        "headers": _headers(*names),
        "content": {JSON: {"schema": schema}},
    }


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(reply: Reply, schemas: Schemas) -> Schema:
    if not reply.kinds:
        return {"schema": {"type": "object" if reply.media_type == JSON else "string"}}
    schema = schemas.any_of(reply.kinds)
    if reply.media_type != sse.MEDIA_TYPE or reply.framing is None:
        return {"schema": schema}
    return {"schema": _event(schema, reply.framing)}


def _event(schema: Schema, framing: sse.Framing) -> Schema:
    """One event of a stream, as OpenAPI 3.2 describes them too: JSON in the text of its `data`."""
    data: Schema = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    if framing.closing == sse.DONE:
        data = {"anyOf": [data, {"const": "[DONE]"}]}
    event: Schema = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    if framing.event is sse.named_event:
        event["properties"]["event"] = {"type": "string", "description": "The `type` of the data."}
        event["required"].append("event")
    return event


def _phrase(status: int) -> str:
    return _NAMES.get(status) or HTTPStatus(status).phrase
