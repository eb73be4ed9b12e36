"""The gateway on a real port, over a fake engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from litestar.datastructures import State

from engine.api import ModelCard
from gateway.app import Server, create_app
from gateway.config import load_settings
from gateway.routes.services import Services
from tests.gateway.documented import check_documented, learn_documented
from tests.gateway.fakes import FakeEngine, make_card

IMPATIENT = {"header_hold_seconds": 0.05, "keep_alive_seconds": 0.02}
"""Limits under which a test sees at once what a client sees after seconds."""


@dataclass(frozen=True)
class Live:
    """A running gateway. `http` calls it; `answered` waits until no reply is being made."""

    url: str
    http: httpx.AsyncClient
    services: Services
    engine: FakeEngine

    async def answered(self) -> None:
        if self.services.answering:
            await asyncio.wait(self.services.answering)


async def until(fact: Callable[[], object], seconds: float = 10) -> None:
    """Lets the server's tasks run until it is so."""
    async with asyncio.timeout(seconds):
        while not fact():  # noqa: ASYNC110 (facts of the server, which has no events for tests)
            await asyncio.sleep(0)


def add_model(engine: FakeEngine, folder: Path, model_id: str, **card: Any) -> ModelCard:
    """Puts a file there to be found, and its card where the fake engine looks."""
    path = folder / f"{model_id}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    made = make_card(str(path), **card)
    engine.add(made)
    return made


@asynccontextmanager
async def serving(engine: FakeEngine, folder: Path, **settings: Any) -> AsyncIterator[Live]:
    values = {"models_dir": folder, "port": 0, "limits": {"shutdown_seconds": 1}} | settings
    ready: asyncio.Future[State] = asyncio.get_running_loop().create_future()
    loaded = load_settings(None, values)
    app = create_app(loaded, engine)
    learn_documented(app)
    server = Server(app, loaded, ready.set_result)
    task = asyncio.create_task(server.serve())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    host, port = ready.result().address
    url = f"http://{host}:{port}"
    try:
        hooks = {"response": [check_documented]}
        async with httpx.AsyncClient(base_url=url, trust_env=False, event_hooks=hooks) as http:
            yield Live(url, http, ready.result().services, engine)
    finally:
        server.should_exit = True
        await task
