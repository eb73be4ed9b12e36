"""How a server takes its leave, over a fake engine. Streams are in test_app.py."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import Server, create_app
from gateway.config import load_settings
from gateway.routes.services import Services
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import add_model, until

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
URL = "/v1/chat/completions"


@dataclass
class Leaving:
    """A server that can be told to go. `http` keeps its connections."""

    server: Server
    task: asyncio.Task[None]
    http: httpx.AsyncClient
    services: Services

    async def begin(self, **fields: Any) -> asyncio.Task[httpx.Response]:
        """A request that is being answered."""
        task = asyncio.create_task(self.http.post(URL, json=CHAT | fields))
        await until(lambda: self.services.answering)
        return task

    async def signal(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)
        await until(lambda: self.services.is_draining)


@asynccontextmanager
async def leaving(engine: FakeEngine, folder: Path, **settings: Any) -> AsyncIterator[Leaving]:
    add_model(engine, folder, "tiny")
    loaded = load_settings(None, {"models_dir": folder, "port": 0} | settings, {})
    ready = asyncio.get_running_loop().create_future()
    server = Server(create_app(loaded, engine), loaded, ready.set_result)
    task = asyncio.create_task(server.serve())
    state = await ready
    host, port = state.address
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as http:
        yield Leaving(server, task, http, state.services)
    async with asyncio.timeout(30):
        await task


async def test_new_work_is_refused_and_connections_are_closed(fake_engine, tmp_path):
    """On open connections and new ones, while what was begun goes on; looking on is allowed."""
    async with leaving(fake_engine, tmp_path) as server:
        fake_engine.gate.clear()
        begun = await server.begin()
        await server.signal()

        refused = await server.http.post(URL, json=CHAT)
        ready = await server.http.get("/readyz")
        models = await server.http.get("/v1/models")
        fake_engine.gate.set()
        answer = await begun

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert refused.headers["retry-after"] == "1"
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert models.status_code == 200
    assert {r.headers["connection"] for r in (refused, ready, models)} == {"close"}
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


async def test_who_waits_for_a_model_is_still_answered(fake_engine, tmp_path):
    """A load that is under way for somebody is finished."""
    fake_engine.hold_loads = True
    async with leaving(fake_engine, tmp_path) as server:
        begun = await server.begin()
        await until(lambda: fake_engine.loads)
        await server.signal()
        fake_engine.finish_load(fake_engine.loads[0].path)
        answer = await begun

    assert answer.status_code == 200


async def test_what_is_made_in_the_background_is_finished_and_kept(fake_engine, tmp_path):
    """Nobody holds a connection for it, and it is still asked for meanwhile."""
    store = {"path": str(tmp_path / "responses.sqlite")}
    async with leaving(fake_engine, tmp_path, store=store) as server:
        fake_engine.gate.clear()
        asked = {"model": "tiny", "input": "hi", "background": True}
        url = f"/v1/responses/{(await server.http.post('/v1/responses', json=asked)).json()['id']}"
        await server.signal()
        assert (await server.http.get(url)).json()["status"] in {"queued", "in_progress"}
        fake_engine.gate.set()

    async with leaving(FakeEngine(), tmp_path, store=store) as next_one:
        assert (await next_one.http.get(url)).json()["status"] == "completed"
        await next_one.signal()


@pytest.mark.parametrize("preload", [False, True])
async def test_without_work_it_ends_at_once(fake_engine, tmp_path, preload):
    """However long the grace is; a load that nobody waits for is given up."""
    fake_engine.hold_loads = True
    model, limits = {"tiny": {"preload": preload}}, {"shutdown_seconds": 10_000}
    async with leaving(fake_engine, tmp_path, model=model, limits=limits) as server:
        await server.signal()


async def test_the_grace_is_as_long_as_it_now_is(fake_engine, tmp_path):
    """Whoever is not done by then is cut, with an answer that says so."""
    async with leaving(fake_engine, tmp_path) as server:
        fake_engine.gate.clear()
        begun = await server.begin()
        server.services.settings = load_settings(None, {"limits": {"shutdown_seconds": 0.01}}, {})
        await server.signal()
        answer = await begun

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
