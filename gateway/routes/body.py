"""Bytes of a request to a wire struct."""

import asyncio
import math
import re
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import HTTPReceiveMessage, Receive, WebSocketReceiveMessage

from gateway.errors import ClientGone, InvalidRequest, RequestTimeout, UnsupportedEncoding
from gateway.routes.services import services_of

MAX_DEPTH = 64
DISCARD_BYTES = 256 * 2**20
DISCARD_SECONDS = 10.0

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")

Wire = TypeVar("Wire")


async def read_body(request: Request[Any, Any, Any], seconds: float) -> bytes:
    """Raises `RequestTimeout` if it does not come in time, and 413 if it is over the limit.

    A body that is packed is not unpacked: a few bytes could become any number.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in {"", "identity"}:
        raise UnsupportedEncoding(
            f"Content-Encoding: bodies come as they are, not {encoding[:40]!r}."
        )
    max_bytes = services_of(request).settings.limits.body_bytes
    messages = request.receive = _Messages(request.receive, max_bytes)
    try:
        _check_announced(request, max_bytes)
        async with asyncio.timeout(seconds):
            return await request.body()
    except RequestEntityTooLarge:
        if int(request.headers.get("content-length", 0)) <= DISCARD_BYTES:
            await _discard_rest(messages)
        raise
    except TimeoutError:
        raise RequestTimeout(f"The body did not arrive within {seconds:g} s.") from None
    except InternalServerException as error:  # Litestar's name for a broken connection
        raise ClientGone("while sending its body") from error


def _check_announced(request: Request[Any, Any, Any], max_bytes: int) -> None:
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise RequestEntityTooLarge


class _Messages:
    """What comes of a request. is_whole: its body has come to its end.

    Raises `RequestEntityTooLarge` with what brings it over `max_bytes`.
    """

    def __init__(self, receive: Receive, max_bytes: float) -> None:
        self._receive = receive
        self._num_bytes = 0
        self.max_bytes = max_bytes
        self.is_whole = False

    async def __call__(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        message = await self._receive()
        if message["type"] == "http.request":
            self._num_bytes += len(message["body"])
        if message["type"] != "http.request" or not message["more_body"]:
            self.is_whole = True
        if self._num_bytes > self.max_bytes:
            raise RequestEntityTooLarge
        return message


async def _discard_rest(messages: _Messages) -> None:
    """Most clients look for an answer only when they have sent everything; a few would never."""
    num_bytes = 0
    messages.max_bytes = math.inf
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while num_bytes < DISCARD_BYTES and not messages.is_whole:
                message = await messages()
                num_bytes += len(message["body"]) if message["type"] == "http.request" else 0


def decode(body: bytes, decoder: msgspec.json.Decoder[Wire]) -> Wire:
    """Raises what msgspec raises, `UnicodeDecodeError` or `InvalidRequest`.

    Of equal keys the last counts.

    The decoder checks UTF-8 only in the values it keeps, and has no limit of its own on nesting.
    """
    if not body.isascii():
        body.decode()
    try:
        message = decoder.decode(body)
    except RecursionError:
        raise _too_deep() from None
    if is_deeper(body, MAX_DEPTH):
        raise _too_deep()
    return message


def is_deeper(body: bytes, depth: int) -> bool:
    """Whether brackets in valid JSON are nested more than `depth` deep; never slow."""
    if body.count(b"[") + body.count(b"{") <= depth:
        return False
    brackets = _STRING.sub(b"", body).translate(_AS_SQUARE, _NO_BRACKET)
    for _ in range(depth):  # each round takes the innermost pairs away
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested more than {MAX_DEPTH} deep.")
