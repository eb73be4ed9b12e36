import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.api import EngineError
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import IMPATIENT, Live, add_model, serving

CHAT = {"messages": [{"role": "user", "content": "x"}]}
AT_ONCE = {"min_dwell_seconds": 0, "dwell_factor": 0}


@pytest.fixture
async def live(fake_engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Live]:
    """Two models of which one fits, one that never does, and a preset."""
    for model, num_bytes in (("one", 600), ("two", 600), ("vast", 5000)):
        add_model(fake_engine, tmp_path, model, weights_bytes=num_bytes)
    presets = {"terse": {"model": "one"}}
    async with serving(fake_engine, tmp_path, presets=presets, pool=AT_ONCE) as live:
        yield live


async def post(live: Live, path: str, model: str, **fields: Any) -> httpx.Response:
    return await live.http.post(path, json={"model": model} | fields)


async def state(live: Live, model: str) -> str:
    return (await live.http.get(f"/v1/models/{model}")).json()["state"]


async def settled(live: Live) -> None:
    if live.services.preloading:
        await asyncio.wait(live.services.preloading)


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_load_and_unload(live, prefix):
    """Each answers at once, also when all is so already."""
    for _ in range(2):
        reply = await post(live, f"{prefix}/models/load", "one")
        await settled(live)
        assert (reply.status_code, reply.json()) == (200, {"success": True})
        assert await state(live, "one") == "loaded"
    for _ in range(2):
        reply = await post(live, f"{prefix}/models/unload", "one")
        assert (reply.status_code, reply.json()) == (200, {"success": True})
        assert await state(live, "one") == "unloaded"

    assert len(live.engine.loads) == 1


async def test_a_load_does_not_wait(live):
    """It answers while the model is on its way."""
    live.engine.hold_loads = True
    assert (await post(live, "/models/load", "one")).status_code == 200
    assert await state(live, "one") == "loading"

    live.engine.finish_load(live.engine.loads[0].path)
    await settled(live)


async def test_a_load_that_fails_later(live):
    """Nobody is there to be told any more; the model can be asked for again."""
    live.engine.hold_loads = True
    await post(live, "/models/load", "one")
    live.engine.fail_load(live.engine.loads[0].path, EngineError("out_of_memory", "too much"))
    await settled(live)
    live.engine.hold_loads = False

    assert await state(live, "one") == "unloaded"
    assert (await post(live, "/v1/chat/completions", "one", **CHAT)).status_code == 200


async def test_a_load_for_a_while(live):
    """With a keep-alive of nothing it is gone as soon as it is there."""
    await post(live, "/models/load", "one", keep_alive="0s")
    await settled(live)

    assert await state(live, "one") == "unloaded"
    assert len(live.engine.loads) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "vast"}, 507, "model_too_large"),
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"model": "one", "keep_alive": "soon"}, 400, None),
        ({}, 400, None),
    ],
)
async def test_a_load_that_cannot_be(live, fields, status, code):
    """Is refused as a request would be."""
    reply = await live.http.post("/models/load", json=fields)

    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_a_pinned_model_stays(live):
    """Who needs its room is told at once that waiting is vain; unpinned, it makes room."""
    await post(live, "/v1/models/pin", "terse")
    await post(live, "/v1/chat/completions", "one", **CHAT)
    refused = await post(live, "/v1/chat/completions", "two", **CHAT)
    load = await post(live, "/models/load", "two")
    pinned = (await live.http.get("/v1/models/one")).json()["pinned"]
    await post(live, "/v1/models/unpin", "one")
    served = await post(live, "/v1/chat/completions", "two", **CHAT)

    assert (refused.status_code, load.status_code, served.status_code) == (503, 503, 200)
    assert refused.headers["x-should-retry"] == "false"
    assert pinned


async def test_a_forced_unload_ends_what_runs(live):
    """Its client is told so."""
    live.engine.gate.clear()
    live.engine.step()
    body = CHAT | {"model": "one", "stream": True}
    async with live.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.aiter_lines()
        while "Hello" not in await anext(lines):
            pass
        await post(live, "/models/unload", "one", force=True)
        rest = [line async for line in lines if line]

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "model_evicted"


async def test_a_plan_changes_nothing(live):
    """It says what would be done, with the bytes and the reasons."""
    await post(live, "/v1/chat/completions", "one", **CHAT)

    plan = (await post(live, "/v1/models/plan", "two")).json()
    loaded = (await post(live, "/v1/models/plan", "terse")).json()

    assert (plan["model"], plan["is_loaded"], plan["device"]) == ("two", False, "cpu")
    assert (plan["bytes"], plan["refusal"]) == (600, None)
    (victim,) = plan["victims"]
    assert (victim["model"], victim["bytes"], victim["way"]) == ("one", 600, "evict")
    assert any("evicts one" in reason for reason in plan["reasons"])
    assert (loaded["model"], loaded["is_loaded"], loaded["victims"]) == ("terse", True, [])
    assert await state(live, "one") == "loaded"


async def test_a_plan_for_what_cannot_be(live):
    """Carries the answer that a request would get."""
    plan = (await post(live, "/v1/models/plan", "vast")).json()

    assert plan["refusal"]["status"] == 507
    assert plan["refusal"]["error"]["code"] == "model_too_large"
    assert "needs 5000 bytes" in plan["reasons"][0]


async def test_a_keep_alive_shows_and_ends(live):
    """The request's own counts; 0 unloads the model after it, as Ollama does."""
    await post(live, "/v1/chat/completions", "one", keep_alive="10m", **CHAT)
    model = (await live.http.get("/v1/models/one")).json()
    running = (await live.http.get("/api/ps")).json()["models"]
    await post(live, "/v1/chat/completions", "one", keep_alive=0, **CHAT)

    expires_at = datetime.fromisoformat(running[0]["expires_at"])
    assert timedelta(seconds=590) < expires_at - datetime.now(UTC) <= timedelta(seconds=600)
    assert abs(model["expires_at"] - expires_at.timestamp()) < 2
    assert await state(live, "one") == "unloaded"


async def test_a_client_hears_whom_it_waits_for(fake_engine, tmp_path):
    """Comments say how many models have their turn before, and how far a load is."""
    for model in ("one", "two", "three"):
        add_model(fake_engine, tmp_path, model, weights_bytes=600)
    fake_engine.hold_loads = True
    async with serving(fake_engine, tmp_path, limits=IMPATIENT, pool=AT_ONCE) as live:
        body = CHAT | {"stream": True}
        paths = {}
        streams = {}
        for model in ("one", "two", "three"):
            paths[model] = (await live.services.catalog.resolve(model)).card.path
            request = live.http.build_request(
                "POST", "/v1/chat/completions", json=body | {"model": model}
            )
            streams[model] = (await live.http.send(request, stream=True)).aiter_lines()
        live.engine.report_progress(paths["one"], 0.43)

        await until(streams["one"], ": loading one 43%")
        await until(streams["two"], ": waiting for two")
        await until(streams["three"], ": waiting for three, 1 ahead")
        for model in ("one", "two", "three"):
            await until(streams[model], f": loading {model}", exactly=False)
            live.engine.finish_load(paths[model])
            await until(streams[model], "data: [DONE]")


async def until(lines: AsyncIterator[str], line: str, *, exactly: bool = True) -> None:
    async for found in lines:
        if found == line or (not exactly and found.startswith(line)):
            return
    raise EOFError


async def test_a_pin_of_the_configuration_shows_before_its_first_request(fake_engine, tmp_path):
    """And one that was taken back does not."""
    add_model(fake_engine, tmp_path, "one")
    async with serving(fake_engine, tmp_path, model={"one": {"pin": True}}) as live:
        before = (await live.http.get("/v1/models/one")).json()["pinned"]
        await post(live, "/v1/models/unpin", "one")
        after = (await live.http.get("/v1/models/one")).json()["pinned"]

    assert (before, after) == (True, False)


async def test_a_paused_client_hears_that_its_turn_comes(fake_engine, tmp_path):
    """Its stream stands while another model has its turn, and ends as if nothing had been."""
    for model in ("one", "two"):
        add_model(fake_engine, tmp_path, model, weights_bytes=600)
    fake_engine.gate.clear()
    fake_engine.step()
    body = CHAT | {"stream": True}
    settings = {"max_wait_seconds": 0.01, "pool": AT_ONCE | {"drain_seconds": 0}}
    async with (
        serving(fake_engine, tmp_path, limits=IMPATIENT, **settings) as live,
        live.http.stream("POST", "/v1/chat/completions", json=body | {"model": "one"}) as first,
    ):
        paused = first.aiter_lines()
        await until(paused, ": working")
        fake_engine.hold_loads = True
        request = body | {"model": "two"}
        async with live.http.stream("POST", "/v1/chat/completions", json=request) as second:
            await until(paused, ": paused, the turn of one comes")
            one, two = (await live.http.get("/models")).json()["data"]
            fake_engine.hold_loads = False
            fake_engine.gate.set()
            fake_engine.finish_load(fake_engine.loads[-1].path)
            await until(second.aiter_lines(), "data: [DONE]")
        await until(paused, "data: [DONE]")

    assert (one["state"], one["status"]) == ("paused", {"value": "sleeping"})
    assert two["state"] == "loading"
