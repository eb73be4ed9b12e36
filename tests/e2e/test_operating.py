"""Settings that change, and servers that take turns, under running streams."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from crowd import metric
from gateway_process import ROOT, Gateway, eventually

MODEL = "llama-plain-F32"
CLIENTS = 4


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "roundhouse.toml"
    path.write_text(f'memory = "1GiB"\n[aliases]\nold = "{MODEL}"')
    return path


async def stream(
    http: httpx.AsyncClient, url: str, model: str, begun: asyncio.Event | None = None
) -> int:
    """How many chunks an answer has that has run to its end. Raises if it was refused, or cut."""
    body = {"model": model, "prompt": "One", "max_tokens": 200, "stream": True}
    num_chunks = 0
    fields = body | {"ignore_eos": True, "seed": 1}
    async with http.stream("POST", f"{url}/v1/completions", json=fields) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line == "data: [DONE]":
                return num_chunks
            assert '"error"' not in line, line
            num_chunks += line.startswith("data: ")
            if begun is not None and num_chunks:
                begun.set()
    raise AssertionError("the stream was cut")


class Crowd:
    """Clients that ask one stream after the other. ended: the length of each; refused: the rest."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        self.ended: asyncio.Queue[int] = asyncio.Queue()
        self._headers = headers
        self.refused: list[httpx.Response] = []
        self._is_over = False

    @asynccontextmanager
    async def asking(self, url: str) -> AsyncIterator[None]:
        """Meanwhile they ask; at the end each has its last answer."""
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._ask(url))
            yield
            self._is_over = True

    async def lengths(self, num_streams: int) -> set[int]:
        """Of the next streams that end: one, if none of them was cut."""
        return {await self.ended.get() for _ in range(num_streams)}

    async def _ask(self, url: str) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            timeout=60, trust_env=False, limits=limits, headers=self._headers
        ) as http:
            while not self._is_over:
                try:
                    self.ended.put_nowait(await stream(http, url, MODEL))
                except httpx.HTTPStatusError as error:  # asked just as the server was told to go
                    self.refused.append(error.response)


@pytest.mark.slow
async def test_an_alias_and_a_limit_change_under_streams(launch, tiny_models, config):
    """New requests go by the new settings as soon as the file has changed; none that runs notices."""
    gateway: Gateway = launch(tiny_models, "--config", str(config))
    crowd = Crowd()
    async with crowd.asking(gateway.url):
        lengths = await crowd.lengths(CLIENTS)
        assert await asyncio.to_thread(_status, gateway, model="old") == 200
        config.write_text(f'memory = "1GiB"\n[aliases]\nnew = "{MODEL}"\n[limits]\nchoices = 1')
        gateway.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(eventually, lambda: _status(gateway, model="new") == 200, 30)
        assert await asyncio.to_thread(_status, gateway, model="old") == 404
        assert await asyncio.to_thread(_status, gateway, model="new", n=2) == 400
        config.write_text("prot = 1")
        await asyncio.to_thread(eventually, lambda: "settings_refused" in gateway.log.read_text())
        assert await asyncio.to_thread(_status, gateway, model="new") == 200
        lengths |= await crowd.lengths(2 * CLIENTS)

    assert (len(lengths), crowd.refused) == (1, [])


@pytest.mark.slow
async def test_a_key_is_revoked_under_streams(launch, tiny_models, tmp_path):
    """Those of other keys notice nothing; what the revoked one has begun is told to its end."""
    path = tmp_path / "roundhouse.toml"
    path.write_text(f'memory = "1GiB"\n[keys]\nanonymous = []\npath = "{tmp_path}/keys.sqlite"\n')
    gateway: Gateway = launch(tiny_models, "--config", str(path))
    kept, lost = [await asyncio.to_thread(_make_key, path, name) for name in ("kept", "lost")]
    crowd = Crowd(kept)
    async with crowd.asking(gateway.url), httpx.AsyncClient(timeout=60, headers=lost) as http:
        lengths = await crowd.lengths(CLIENTS)
        begun = asyncio.Event()
        running = asyncio.create_task(stream(http, gateway.url, MODEL, begun))
        await begun.wait()
        await asyncio.to_thread(key, path, "revoke", "lost")
        await asyncio.to_thread(eventually, lambda: _status(gateway, lost) == 401)
        lengths |= {await running}
        lengths |= await crowd.lengths(2 * CLIENTS)

    assert (len(lengths), crowd.refused) == (1, [])


def key(config: Path, *words: str) -> str:
    command = [sys.executable, "-m", "gateway", "key", *words, "--config", str(config)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _make_key(config: Path, name: str) -> dict[str, str]:
    made = json.loads(key(config, "create", "--name", name, "--json"))["key"]
    return {"authorization": f"Bearer {made}"}


def _status(gateway: Gateway, headers: dict[str, str] | None = None, **fields: object) -> int:
    body = {"prompt": "One", "max_tokens": 1, **fields}
    body = {"model": MODEL} | body
    url = f"{gateway.url}/v1/completions"
    return httpx.post(url, json=body, headers=headers, timeout=30).status_code


class Balancer:
    """A proxy of connections, to the first of `gateways` that says it is ready when one comes."""

    def __init__(self, gateways: list[Gateway]) -> None:
        self.gateways = gateways
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await asyncio.gather(*self._connections)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        port = int((await self._ready()).url.rpartition(":")[2])
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async def _ready(self) -> Gateway:
        async with httpx.AsyncClient(trust_env=False) as http:
            for gateway in self.gateways:
                with suppress(httpx.TransportError):
                    if (await http.get(f"{gateway.url}/readyz")).status_code == 200:
                        return gateway
        raise OSError("no gateway is ready")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


@pytest.mark.slow
async def test_a_rolling_restart_cuts_no_stream(
    launch: Callable[..., Gateway], tiny_models: Path, config: Path
):
    """The new server takes new requests, the old one ends what it has and then itself."""
    old, new = (launch(tiny_models, "--config", str(config)) for _ in range(2))
    crowd = Crowd()
    async with Balancer([old, new]).serving() as url, crowd.asking(url):
        lengths = await crowd.lengths(CLIENTS)
        old.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(old.process.wait, 60)
        lengths |= await crowd.lengths(4 * CLIENTS)

    assert old.process.returncode == 0
    assert len(lengths) == 1
    assert all(reply.status_code == 503 and reply.headers["retry-after"] for reply in crowd.refused)
    assert _loads(new) == 1


def _loads(gateway: Gateway) -> float:
    return metric(gateway, "roundhouse_loads_total", model=MODEL, outcome="loaded")
