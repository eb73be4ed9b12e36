"""HTTP to one upstream: pooled connections, bounds on time and size, and failures in our words."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog

from gateway.config import SettingsError, UpstreamSettings
from gateway.journey import arrival
from gateway.upstreams.events import DONE, Events
from gateway.upstreams.failures import UpstreamFailure, broken, of_status, of_transport
from gateway.upstreams.keys import key_of
from gateway.upstreams.via import handed_on
from gateway.version import own_version

MAX_ERROR_BYTES = 64 * 1024
DRAIN_SECONDS = 0.2
STREAM_TYPE = "text/event-stream"

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


class Client:
    """Raises `UpstreamFailure` for whatever goes wrong. Closing what it gives ends the request.

    Follows no redirect, keeps no cookie, reads no proxy from the environment and unpacks nothing.
    """

    def __init__(self, settings: UpstreamSettings, pseudonym: str) -> None:
        """Raises `SettingsError` for an address, key or certificate that cannot be used.

        pseudonym: what this server calls itself in `Via`.
        """
        _check_url(settings)
        self.name = settings.name
        self.settings = settings
        self._pseudonym = pseudonym
        self._num_users, self._is_retired = 0, False
        self._key = key_of(settings)
        seconds = settings.connect_seconds
        self._http = httpx.AsyncClient(
            base_url=settings.base_url.rstrip("/") + "/",
            timeout=httpx.Timeout(
                None, connect=seconds, pool=seconds, write=settings.stall_seconds
            ),
            limits=httpx.Limits(
                max_connections=settings.connections,
                max_keepalive_connections=settings.connections,
                keepalive_expiry=30,
            ),
            verify=_certificates(settings),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            follow_redirects=False,
        )
        if self._key() and self._http.base_url.scheme == "http":
            log.warning("upstream_key_unencrypted", upstream=settings.name)

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Within it the client is not closed because it was retired."""
        self._num_users += 1
        try:
            yield
        finally:
            self._num_users -= 1
            if self._is_retired and not self._num_users:
                await self.close()

    async def retire(self) -> None:
        """Closes it as soon as nobody holds it."""
        self._is_retired = True
        if not self._num_users:
            await self.close()

    async def get(self, path: str) -> bytes:
        async with self._asked("GET", path, None, "application/json") as response:
            return await self._whole(response, self.settings.reply_bytes)

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        async with self._asked("POST", path, body, "application/json") as response:
            return await self._whole(response, self.settings.reply_bytes)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """The data of each event, as it comes."""
        async with self._asked("POST", path, body, STREAM_TYPE) as response:
            if not response.headers.get("content-type", "").startswith(STREAM_TYPE):
                raise broken(self.name, "does not stream")
            events = Events()
            async with aclosing(self._pieces(response, self.settings.reply_bytes)) as pieces:
                async for piece in pieces:
                    for event in events.add(piece):
                        if event == DONE:
                            await self._drain(pieces)
                        yield event

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: dict[str, Any] | None, accept: str
    ) -> AsyncIterator[httpx.Response]:
        content = None if body is None else _encode(body)
        headers = self._headers(accept)
        request = self._http.build_request(method, path, content=content, headers=headers)
        with self._worded():
            async with asyncio.timeout(self.settings.wait_seconds):
                response = await self._http.send(request, stream=True)
        try:
            await self._check(response)
            yield response
        finally:
            await response.aclose()

    def _headers(self, accept: str) -> dict[str, str]:
        asked = arrival()
        headers = {
            "via": handed_on(asked.via, self._pseudonym),
            "accept": accept,
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": f"roundhouse/{own_version()}",
        }
        if request_id := structlog.contextvars.get_contextvars().get("request_id"):
            headers["x-request-id"] = request_id
        if asked.traceparent:
            headers["traceparent"] = asked.traceparent
            headers |= {"tracestate": asked.tracestate} if asked.tracestate else {}
        try:
            key = self._key()
        except (OSError, UnicodeDecodeError) as error:
            raise broken(self.name, "has no key here: its key_file cannot be read") from error
        return headers | {"authorization": f"Bearer {key}"} if key else headers

    async def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status != httpx.codes.OK:
            body = await self._whole(response, MAX_ERROR_BYTES)
            raise of_status(self.name, status, response.headers, self._hidden(body))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise broken(self.name, "sent a packed reply, which was not asked for")

    def _hidden(self, body: bytes) -> bytes:
        """Some say the key that they refuse."""
        key = self._key()
        return body.replace(key.encode(), b"***") if key else body

    async def _whole(self, response: httpx.Response, max_bytes: int) -> bytes:
        async with aclosing(self._pieces(response, max_bytes)) as pieces:
            return b"".join([piece async for piece in pieces])

    async def _pieces(
        self, response: httpx.Response, max_bytes: int
    ) -> AsyncGenerator[bytes, None]:
        """The time in which nobody reads does not count."""
        num_bytes = 0
        async with aclosing(response.aiter_raw()) as source:  # type: ignore[type-var]
            while piece := await self._next(source):
                num_bytes += len(piece)
                if num_bytes > max_bytes:
                    raise broken(self.name, f"sent more than {max_bytes} bytes")
                yield piece

    async def _drain(self, pieces: AsyncIterator[bytes]) -> None:
        """Reads on to the end, which is there in most cases: then the connection serves again."""
        with suppress(TimeoutError, UpstreamFailure):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in pieces:
                    pass

    async def _next(self, source: AsyncIterator[bytes]) -> bytes:
        with self._worded():
            async with asyncio.timeout(self.settings.stall_seconds):
                return await anext(source, b"")

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, TimeoutError) as error:
            raise of_transport(self.name, error) from error


def _check_url(settings: UpstreamSettings) -> None:
    url = urlsplit(settings.base_url)
    at = f"[[upstreams]] {settings.name!r}: base_url"
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise SettingsError(f"{at}: http:// or https:// and a host, such as https://host/v1")
    if url.username or url.password:
        raise SettingsError(f"{at}: no user or password in it: use key_env or key_file")
    if url.query or url.fragment:
        raise SettingsError(f"{at}: no ? and no # in it")


def _certificates(settings: UpstreamSettings) -> ssl.SSLContext | bool:
    if settings.base_url.startswith("http:"):
        return False  # nothing to verify, and the system's take a while to read
    if settings.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(settings.ca_file))
    except OSError as error:
        at = f"[[upstreams]] {settings.name!r}: ca_file"
        raise SettingsError(f"{at}: {settings.ca_file}: {error}") from None
