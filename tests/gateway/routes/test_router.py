import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.gateway.live import Live, add_model, serving

CHAT = {"messages": [{"role": "user", "content": "x"}]}


class Heard:
    """A client of `/models/sse`."""

    def __init__(self, response: httpx.Response) -> None:
        self.lines = response.aiter_lines()

    async def comment(self) -> str:
        return await self._next(": ")

    async def event(self) -> dict[str, Any]:
        return json.loads(await self._next("data: "))

    async def until(self, model: str, status: str) -> list[str]:
        """Statuses of a model, up to this one."""
        statuses: list[str] = []
        while status not in statuses:
            event = await self.event()
            statuses += [event["data"]["status"]] if event["model"] == model else []
        return statuses

    async def _next(self, start: str) -> str:
        async for line in self.lines:
            if line.startswith(start):
                return line.removeprefix(start)
        raise EOFError


@asynccontextmanager
async def listening(live: Live) -> AsyncIterator[Heard]:
    async with live.http.stream("GET", "/models/sse") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        heard = Heard(response)
        await heard.comment()
        yield heard


async def test_a_load_is_told_as_it_goes(live):
    """Loading, with the progress that the engine reports, and loaded."""
    await live.services.catalog.wait(5)
    live.engine.hold_loads = True
    path = (await live.services.catalog.resolve("org/tiny")).card.path
    async with listening(live) as heard:
        chat = live.http.post("/v1/chat/completions", json=CHAT | {"model": "org/tiny"})
        asked = asyncio.create_task(chat)
        assert await heard.until("org/tiny", "loading") == ["loading"]
        live.engine.report_progress(path, 0.5)
        event = await heard.event()
        live.engine.finish_load(path)
        assert await heard.until("org/tiny", "loaded")
        await asked

    assert event["data"]["progress"] == {
        "stages": ["text_model"],
        "current": "text_model",
        "value": 0.5,
    }


async def test_silence_is_filled(fake_engine, tmp_path):
    """Proxies close what is silent for long."""
    async with (
        serving(fake_engine, tmp_path, limits={"keep_alive_seconds": 0.02}) as live,
        listening(live) as heard,
    ):
        assert await heard.comment() == "still here"


async def test_a_new_model_changes_the_list(live, tmp_path):
    """Clients then ask for it again."""
    await live.services.catalog.wait(5)
    async with listening(live) as heard:
        add_model(live.engine, tmp_path, "late")
        assert (await live.http.get("/models")).status_code == 200

        assert await heard.event() == {"model": "*", "event": "models_reload"}


async def test_listeners_do_not_hold_a_server_that_ends(live):
    """They would listen for ever."""
    async with listening(live) as heard:
        live.services.events.close()

        assert [line async for line in heard.lines if line] == []
