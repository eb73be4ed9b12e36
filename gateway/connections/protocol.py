"""uvicorn's connections, with bounds on how long and how much a client may keep one busy.

uvicorn reads heads without any bound, says what it refuses as plain text, and waits for ever for a
client that does not read. What a body may take is bounded by `gateway.routes.body`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.config import Limits
from gateway.connections.head import refusal_of, too_large
from gateway.errors import (
    GatewayError,
    InvalidRequest,
    RequestTimeout,
    TooManyConnections,
    problem_of,
)

LINGER_SECONDS = 1.0

_encode = msgspec.json.Encoder().encode


def protocol_of(limits: Callable[[], Limits]) -> type[asyncio.Protocol]:
    """What makes the connections of one server, each by the limits as they then are."""
    made = partial(Connection, limits=limits, clients=Counter())
    return cast(type[asyncio.Protocol], made)  # uvicorn only ever calls it


class Connection(HttpToolsProtocol):
    """One client's connection.

    limits: `connections`, `connections_per_client`, `headers` and `header_bytes`, `header_seconds`,
    `stall_seconds`. clients: how many connections each address has, of all connections together.
    """

    def __init__(
        self, *arguments: Any, limits: Callable[[], Limits], clients: Counter[str], **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self._limits = limits()
        self._clients = clients
        self._address = ""
        self.timeout_keep_alive = self._limits.idle_seconds  # type: ignore[assignment]  # any number will do
        self._refusal: GatewayError | None = None
        self._method = b""
        self._is_upgrade = False
        self._head_bytes = 0
        self._has_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    # --- a connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._clients[self._address] += 1
        if self._is_one_too_many():
            self._refuse(TooManyConnections("There are too many connections.", None, 1))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clients[self._address] -= 1
        if not self._clients[self._address]:
            del self._clients[self._address]
        self._end_timers()
        super().connection_lost(exc)

    def _is_one_too_many(self) -> bool:
        of_client = self._limits.connections_per_client
        return len(self.connections) > self._limits.connections or (
            of_client is not None and self._clients[self._address] > of_client
        )

    def _end_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()

    # --- heads ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        was_within_head = not self._has_head
        self._parse(data)
        if self._has_head or self._refusal is not None:
            return
        if self._head_timer is None:
            self._await_head()
        # The parser keeps what it has of an unfinished header without telling of it.
        self._head_bytes = self._head_bytes + len(data) if was_within_head else len(data)
        if self._head_bytes > self._limits.header_bytes:
            self._refuse(too_large(self._limits))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidRequest("This is not a request of HTTP/1.1."))

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Reads a request as if it did not ask for another protocol, which a server may ignore.

        Java's client asks for HTTP/2 with each request to a server that it does not know; uvicorn
        then loses the body.
        """
        self.parser = httptools.HttpRequestParser(self)
        others = [(name, value) for name, value in self.headers if name != b"upgrade"]
        lines = [b"%b: %b\r\n" % header for header in others]
        self._parse(b"%b %b HTTP/1.1\r\n%b\r\n" % (self._method, self.url, b"".join(lines)) + rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # Not with any byte, as uvicorn does: what is left of a body that was answered buys no time.
        self._unset_keepalive_if_required()
        self._has_head = False

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._method = self.parser.get_method()
        num_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        version = self.parser.get_http_version()
        self._refusal = refusal_of(self.headers, num_bytes, version, self._limits)
        if self._method == b"CONNECT":
            self._refusal = InvalidRequest("This server is no proxy.")
        if self._refusal is not None:
            raise self._refusal  # to the parser, which goes no further
        self._is_upgrade = self.parser.should_upgrade()
        if not self._is_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_upgrade:  # then this is the end of its head
            super().on_message_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._limits.header_seconds, self._give_up)

    def _give_up(self) -> None:
        if self._head_bytes:
            seconds = self._limits.header_seconds
            self._refuse(RequestTimeout(f"The headers did not arrive within {seconds:g} s."))
        else:
            self.transport.close()  # nothing was asked, as with connections made in advance

    # --- refusals ---------------------------------------------------------------------------------

    def _refuse(self, error: GatewayError) -> None:
        self._refusal = error
        if not self._may_answer():
            self.transport.close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # whatever the app says of it now is heard by nobody
            self.cycle.message_event.set()
        self.transport.write(_response(error))
        if self.transport.can_write_eof():  # TLS has no half-closed connections
            self.transport.write_eof()
        # Closing at once would reset the connection while the client sends, and take the answer with it.
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _may_answer(self) -> bool:
        """Whether an answer would be to what is refused, and stand in the middle of no other."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline

    # --- clients that do not read -----------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self.loop.call_later(self._limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _response(error: GatewayError) -> bytes:
    problem = problem_of(error)
    body = _encode(problem.reply)
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **problem.headers,
        "connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.status] + lines.encode() + b"\r\n" + body
