"""What every request passes first and last: its id, its host, its origin, and its line in the log.

It stands around the whole app, since Litestar's middleware does not see what no route answers.
"""

import re
import secrets
import time
from typing import cast

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import problem_of
from gateway.journey import arrival_of, arrive
from gateway.keys import begin_visit
from gateway.log import begin_facts
from gateway.metrics.responses import Responses
from gateway.routes.origins import Origins

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# asked for all the time by machines, so no line for each success
_QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics", "/metrics/epp"})

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Edge:
    def __init__(self, app: ASGIApp, origins: Origins, responses: Responses) -> None:
        self._app = app
        self.origins = origins
        self._responses = responses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        facts = begin_facts()
        visit = begin_visit()
        started = time.monotonic()
        arrive(arrival_of(started, headers, request_id))
        extra = [(b"x-request-id", request_id), *self.origins.reply_headers(headers)]

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts["status"] = message["status"]
                took = (b"openai-processing-ms", b"%d" % ((time.monotonic() - started) * 1e3))
                given = [*message.get("headers", []), *visit.headers()]
                message["headers"] = [*given, *extra, took]
            if message["type"] == "http.response.body" and not message.get("more_body"):
                visit.answered()  # before the client, which may ask again at once, knows of it
            await send(message)

        try:
            await self._answer(scope, headers, receive, send_marked)
        finally:
            visit.answered()
            self._count(scope, facts)
            _log_line(scope, facts, time.monotonic() - started)

    def _count(self, scope: Scope, facts: dict[str, object]) -> None:
        route, method = scope.get("path_template", ""), str(scope.get("method"))
        status, code = facts.get("status", 0), facts.get("error_code", "")
        self._responses.count(str(route), method, cast("int", status), str(code))

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        if refusal := self.origins.refusal(headers):
            problem = problem_of(refusal)
            await _send(send, problem.status, _encode(problem.reply))
        elif scope.get("method") == "OPTIONS" and b"access-control-request-method" in headers:
            await _send(send, 204, b"")
        else:
            await self._app(scope, receive, send)


def _request_id(headers: dict[bytes, bytes]) -> bytes:
    """The client's own if it can be echoed safely, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given if _REQUEST_ID.fullmatch(given) else b"req_" + secrets.token_hex(16).encode()


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json")] if body else []
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _log_line(scope: Scope, facts: dict[str, object], seconds: float) -> None:
    if scope["path"] in _QUIET and facts.get("status") == 200:
        return
    log.info(
        "request",
        method=scope.get("method"),
        path=scope["path"],
        seconds=round(seconds, 3),
        **facts,
    )
