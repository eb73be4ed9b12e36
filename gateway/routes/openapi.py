"""What this server can be asked, for programs and for people."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
from litestar import Controller, Litestar, Request, Response, get

from gateway.openapi.document import document_of
from gateway.openapi.operation import JSON, Parameter, Reply, as_text, operation
from gateway.openapi.page import page_of, style

_IF_NONE_MATCH = Parameter(
    "if-none-match", "header", "The ETag of what is known.", {"type": "string"}
)
_KNOWN = ((304, "Not Modified"),)


@dataclass(frozen=True)
class Published:
    """The document and the page as they are sent. Both stay the same for as long as the app runs."""

    document: bytes
    page: bytes

    @classmethod
    def of(cls, app: Litestar) -> "Published":
        document = document_of(app)
        return cls(msgspec.json.encode(document), page_of(document).encode())


class OpenApiController(Controller):
    @get(
        "/openapi.json",
        opt=operation(
            "read_document",
            "This document",
            "Server",
            Reply(JSON),
            scope="infer",
            parameters=(_IF_NONE_MATCH,),
            empty=_KNOWN,
        ),
    )
    async def read_document(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        return _sent(request, _published(request.app).document, JSON)

    @get(
        "/docs",
        opt=operation(
            "read_page",
            "This document as a page",
            "Server",
            as_text("text/html"),
            scope="infer",
            parameters=(_IF_NONE_MATCH,),
            empty=_KNOWN,
        ),
    )
    async def read_page(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Needs no script, and nothing from anywhere else."""
        page = _sent(request, _published(request.app).page, "text/html")
        page.headers["content-security-policy"] = _policy()
        return page


def _published(app: Litestar) -> Published:
    """Made when it is asked for first: most servers never are."""
    if "published" not in app.state:
        app.state.published = Published.of(app)
    published: Published = app.state.published
    return published


def _sent(request: Request[Any, Any, Any], content: bytes, media_type: str) -> Response[bytes]:
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def _policy() -> str:
    """Nothing but the page's own style may be used."""
    digest = b64encode(sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
