"""The gateway as it is served, over an engine that costs nothing.

    python bench/stub_gateway.py inside     the engine is an object of the gateway's own process
    python bench/stub_gateway.py behind     it is two processes behind their real channels

Prints its URL.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop
from folders import HERE
from litestar.datastructures import State
from stub_engine import DEVICE, StubEngine
from stub_reply import AT_ONCE, PACED

from engine.api import Engine
from engine.client import LocalEngine
from engine.launcher import LocalLauncher, LocalProcess, Program
from gateway.app import Server, create_app
from gateway.config import load_settings
from gateway.log import configure_logging

_STUBS = {"engine.text": "stub_text", "engine.worker": "stub_worker"}


class StubLauncher(LocalLauncher):
    """Starts the stubs where the engine's own programs are asked for."""

    async def launch(self, program: Program) -> LocalProcess[Any]:
        path = os.pathsep.join([str(HERE), *sys.path])
        stub = replace(program, module=_STUBS[program.module], environment={"PYTHONPATH": path})
        return await super().launch(stub)


@asynccontextmanager
async def engine_of(kind: str) -> AsyncIterator[Engine]:
    if kind == "inside":
        yield StubEngine()
        return
    engine = LocalEngine([DEVICE], launcher=StubLauncher())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def serve(kind: str, models: Path) -> None:
    values = {"models_dir": models, "port": 0, "memory": DEVICE.memory_bytes}
    settings = load_settings(None, values)
    async with engine_of(kind) as engine:
        await Server(create_app(settings, engine), settings, _say_where).serve()


def _say_where(state: State) -> None:
    host, port = state.address
    print(f"http://{host}:{port}", flush=True)


def main() -> None:
    configure_logging("json")
    with TemporaryDirectory() as folder:
        for name in (AT_ONCE, PACED):
            (Path(folder) / f"{name}.gguf").touch()
        uvloop.run(serve(sys.argv[1], Path(folder)))


if __name__ == "__main__":
    main()
