import asyncio
import socket
from typing import Any

import pytest

from tests.gateway.live import Live, add_model, serving

SOON = 0.05
ALIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"


class Client:
    """A connection, and what is sent and read on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, live: Live, **options: Any) -> "Client":
        host, port = live.url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port), **options))

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Until the server ends the connection."""
        return await self.reader.read()


async def status_of_rest(client: Client) -> bytes:
    answer = await client.rest()
    client.writer.close()
    return answer.partition(b"\r\n")[0]


async def test_a_head_that_does_not_end_is_408(fake_engine, tmp_path):
    """A client that sends a header now and then holds a connection only for so long."""
    async with serving(fake_engine, tmp_path, limits={"header_seconds": SOON}) as live:
        client = await Client.of(live)
        client.writer.write(HEAD + b"X: a\r\n")

        assert await status_of_rest(client) == b"HTTP/1.1 408 Request Timeout"


async def test_the_second_head_has_no_more_time_than_the_first(fake_engine, tmp_path):
    """What was asked before buys nothing."""
    async with serving(fake_engine, tmp_path, limits={"header_seconds": SOON}) as live:
        client = await Client.of(live)
        client.writer.write(ALIVE + b"GET /")
        assert await client.head()

        assert b"HTTP/1.1 408 Request Timeout" in await client.rest()
        client.writer.close()


async def test_who_never_asks_is_told_nothing(fake_engine, tmp_path):
    """Browsers connect in advance, and would take an answer for that to their next request."""
    async with serving(fake_engine, tmp_path, limits={"header_seconds": SOON}) as live:
        client = await Client.of(live)

        assert await status_of_rest(client) == b""


async def test_an_idle_connection_is_closed(fake_engine, tmp_path):
    """It is kept for a next request, not for ever."""
    async with serving(fake_engine, tmp_path, limits={"idle_seconds": SOON}) as live:
        client = await Client.of(live)
        client.writer.write(ALIVE)

        assert b'{"status":"ok"}' in await client.rest()
        client.writer.close()


@pytest.mark.parametrize("more", [b"x", b"\r\n"])
async def test_no_rest_of_a_request_keeps_its_connection(fake_engine, tmp_path, more):
    """What comes behind an answer and begins no request does not count as one."""
    async with serving(fake_engine, tmp_path, limits={"idle_seconds": SOON}) as live:
        client = await Client.of(live)
        head = HEAD.replace(b"completions", b"nothing")
        client.writer.write(ALIVE if more.isspace() else head + b"Content-Length: 9\r\n\r\n")
        assert await client.head()
        client.writer.write(more)

        assert await client.rest()
        client.writer.close()


async def test_a_header_without_end_is_431(fake_engine, tmp_path):
    """The parser keeps it all until it ends, so it is counted as it comes."""
    async with serving(fake_engine, tmp_path, limits={"header_bytes": "1KiB"}) as live:
        client = await Client.of(live)
        client.writer.write(HEAD + b"X: ")
        for _ in range(8):
            client.writer.write(b"a" * 512)
            await client.writer.drain()

        status = await status_of_rest(client)

    assert status == b"HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.parametrize("limit", ["connections", "connections_per_client"])
async def test_one_connection_too_many_is_503(fake_engine, tmp_path, limit):
    """It is told when to come again, and those that are there are served."""
    async with serving(fake_engine, tmp_path, limits={limit: 1}) as live:
        first, second = await Client.of(live), await Client.of(live)
        refused = await second.rest()
        first.writer.write(ALIVE)
        assert await first.head()
        first.writer.close()
        second.writer.close()

    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"retry-after: 1" in refused
    assert b'"code":"too_many_connections"' in refused


async def test_connections_that_ended_count_no_more(fake_engine, tmp_path):
    """A place is free again once its client has been answered and has gone."""
    async with serving(fake_engine, tmp_path, limits={"connections_per_client": 1}) as live:
        for _ in range(3):
            client = await Client.of(live)
            client.writer.write(ALIVE.replace(b"1.1", b"1.0"))  # then the server ends it

            assert b'{"status":"ok"}' in await client.rest()
            client.writer.close()


async def test_a_client_that_does_not_read_is_cut_off(fake_engine, tmp_path):
    """Its generation ends, its connection too, and others are served meanwhile."""
    card = add_model(fake_engine, tmp_path, "tiny")
    fake_engine.replies[card.path] = ["x" * 100_000] * 300  # more than sockets keep
    body = b'{"model": "tiny", "prompt": "a", "stream": true, "max_tokens": 300}'
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with serving(fake_engine, tmp_path, limits={"stall_seconds": SOON}) as live:
            host, port = live.url.removeprefix("http://").split(":")
            own.connect((host, int(port)))
            own.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            while not fake_engine.closed_streams:
                assert (await live.http.get("/livez")).status_code == 200
            received = await asyncio.to_thread(_all, own)

    assert b"[DONE]" not in received


def _all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while data := connection.recv(2**20):
            received += data
    except ConnectionResetError:
        pass
    return received


async def test_a_client_that_closes_its_side_is_gone(fake_engine, tmp_path):
    """Nothing tells it from one that left, so what it asked for is not made."""
    add_model(fake_engine, tmp_path, "tiny")
    fake_engine.gate.clear()
    fake_engine.step()
    body = b'{"model": "tiny", "prompt": "a", "stream": true}'
    async with serving(fake_engine, tmp_path) as live:
        client = await Client.of(live)
        client.writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert await client.head()

        client.writer.write_eof()
        await live.answered()

        assert not any(model.streams for model in fake_engine.models.values())
        client.writer.close()
