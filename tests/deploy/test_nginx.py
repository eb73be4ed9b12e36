"""A model that takes longer to load than nginx waits for an answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from helm import only, render
from nginx import directives_of, proxying
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import add_model, serving

CHAT = {"model": "slow", "messages": [{"role": "user", "content": "Hello"}]}
LARGE = {"model": "slow", "messages": [{"role": "user", "content": "a " * 2**20}]}
"""nginx's own limit is 1 MiB; ours lets it through, to be told that no context is so long."""
ANSWER = "Hello, world!"


def test_the_charts_ingress_says_how_nginx_has_to_wait():
    """An hour for a reply, nothing held back on its way, and bodies as large as ours may be."""
    assert set(_ours()) == {
        "proxy_read_timeout 3600s",
        "proxy_send_timeout 3600s",
        "proxy_buffering off",
        "proxy_request_buffering off",
        "client_max_body_size 16m",
    }


async def test_a_load_longer_than_nginx_waits(tmp_path: Path):
    """Where nginx waits for a second, signs of life keep plain requests and streams alive."""
    limits = {"header_hold_seconds": 0.2, "keep_alive_seconds": 0.2, "shutdown_seconds": 1}
    await _outlast(tmp_path, ["proxy_read_timeout 1s"], {"limits": limits}, further_seconds=0)


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_load_of_70_seconds(tmp_path: Path):
    """The same with nginx's own settings, which wait for 60 s, and with our own limits."""
    await _outlast(tmp_path, [], {}, further_seconds=10)


async def _outlast(
    folder: Path, defaults: list[str], settings: dict[str, Any], further_seconds: float
) -> None:
    """Lets a load go on until nginx has given up a server that is silent, and so much longer."""
    engine = FakeEngine(hold_loads=True)
    card = add_model(engine, folder / "models", "slow")
    async with serving(engine, folder / "models", **settings) as live, _silent() as silent:
        with (
            proxying(live.url, folder / "defaults", defaults) as plain,
            proxying(live.url, folder / "ours", _ours()) as ours,
            proxying(silent, folder / "silent", defaults) as hopeless,
        ):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(_answer(url)) for url in (plain, ours)]
                asked += [group.create_task(_stream(url)) for url in (plain, ours)]
                assert await _status(hopeless) == 504
                done, _ = await asyncio.wait(asked, timeout=further_seconds)
                assert not done
                engine.finish_load(card.path)
            assert [task.result() for task in asked] == [ANSWER] * 4
            await live.answered()
            assert [await _status(url, LARGE) for url in (plain, ours)] == [413, 400]
    assert not engine.bugs


@asynccontextmanager
async def _silent() -> AsyncIterator[str]:
    """A server that takes requests and says nothing."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _status(url: str, body: object = CHAT) -> int:
    async with _client(url) as http:
        return (await http.post("/v1/chat/completions", json=body)).status_code


async def _answer(url: str) -> str:
    async with _client(url) as http:
        reply = await http.post("/v1/chat/completions", json=CHAT)
    return str(reply.json()["choices"][0]["message"]["content"])


async def _stream(url: str) -> str:
    """The text of a stream; signs of life have to come through while its model is loaded."""
    text, signs = "", 0
    async with (
        _client(url) as http,
        http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as reply,
    ):
        async for line in reply.aiter_lines():
            signs += line.startswith(":") and not text
            if line.startswith("data: {"):
                delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
                text += delta.get("content") or ""
    assert signs
    return text


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=None, trust_env=False)


def _ours() -> list[str]:
    return directives_of(only(render({"ingress": {"enabled": True}}), "Ingress"))
