"""Every answer that a test of the gateway gets is one that the OpenAPI document has."""

import re
from typing import Any

import httpx
from litestar import Litestar

from gateway.openapi.document import document_of

_known: list[tuple[re.Pattern[str], dict[str, Any]]] = []
"""Paths without parameters first, and their operations by method: the same for every app."""


def learn_documented(app: Litestar) -> None:
    """Learns what is documented, once."""
    if not _known:
        paths = sorted(document_of(app)["paths"].items(), key=lambda item: "{" in item[0])
        _known.extend((_pattern(path), operations) for path, operations in paths)


async def check_documented(response: httpx.Response) -> None:
    """An httpx hook. Raises `AssertionError` for a status or a media type that is not documented."""
    request = response.request
    operation = _operations_at(request.url.path).get(request.method.lower())
    if operation is None:
        return  # there is no such path, or not by this method: the document says so in its words
    answers, status = operation["responses"], str(response.status_code)
    assert status in answers, f"{operation['operationId']} answers {status}: {sorted(answers)}"
    media_type = response.headers.get("content-type", "").partition(";")[0]
    content = answers[status].get("content")
    assert not content or media_type in content, f"{operation['operationId']}: {media_type}"


def _operations_at(path: str) -> dict[str, Any]:
    found = (operations for template, operations in _known if template.fullmatch(path))
    return next(found, {})


def _pattern(path: str) -> re.Pattern[str]:
    """Only models' names have slashes."""
    parameter = r".+" if path == "/v1/models/{model_id}" else r"[^/]+"
    return re.compile(re.sub(r"\{\w+\}", parameter, path))
