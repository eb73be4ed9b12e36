import asyncio
import time

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.routes.body import decode, is_deeper
from tests.gateway.live import serving

_any = msgspec.json.Decoder(dict)


@pytest.mark.parametrize(
    ("body", "is_too_deep"),
    [
        (b"[" * 3 + b"]" * 3, False),
        (b"[" * 4 + b"]" * 4, True),
        (b'{"a":[{"b":[]}]}', True),
        (b"[" + b"[],{}," * 100 + b"[]]", False),
        (b'["[[[[[[[[", "\\"[[[[", "\\\\", "{{{{"]', False),
        (b'["\\\\", [[[["]"]]]]]', True),
    ],
)
def test_only_brackets_outside_of_strings_nest(body, is_too_deep):
    """A text full of brackets is as flat as any other."""
    assert is_deeper(body, 3) is is_too_deep


@pytest.mark.parametrize(
    "body", [b'"\\"' * 300_000, b'"' * 999_999, b"[]" * 500_000, b'"\\' * 500_000, b"[" * 10**6]
)
def test_looking_for_depth_takes_linear_time(body):
    """No body of a megabyte holds the event loop up."""
    started = time.process_time()
    is_deeper(body + b"[" * 65, 64)

    assert time.process_time() - started < 1


def test_the_limit_is_64():
    """Decoding alone would stop at about 1000, and only in what it keeps."""
    assert decode(b'{"x":' * 64 + b"1" + b"}" * 64, _any)
    with pytest.raises(InvalidRequest, match="64 deep"):
        decode(b'{"x":' * 65 + b"1" + b"}" * 65, _any)


async def test_a_body_that_does_not_come_is_408(fake_engine, tmp_path):
    """Fewer bytes than announced hold a connection only for so long."""
    async with serving(fake_engine, tmp_path, limits={"body_seconds": 0.05}) as live:
        host, port = live.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
        )
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer
    assert b'"code":"request_timeout"' in answer


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_far_over_the_limit_is_heard_to_its_end(fake_engine, tmp_path, is_announced):
    """Most clients look for an answer only when they have sent everything."""

    async def pieces():
        for _ in range(64):
            yield b" " * 2**17

    content = b" " * 2**23 if is_announced else pieces()
    async with serving(fake_engine, tmp_path, limits={"body_bytes": "1KiB"}) as live:
        reply = await live.http.post("/v1/chat/completions", content=content)

    assert (reply.status_code, reply.headers["connection"]) == (413, "close")
