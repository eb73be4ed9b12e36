"""Models that requests bring and remove, against a hub on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.hub.pulls import MAX_AT_ONCE, MAX_WAITING
from hub_server import Held, HubServer
from tests.gateway.fakes import FakeEngine, make_card
from tests.gateway.live import IMPATIENT, Live, serving

FILES = {"m-Q4_K_M.gguf": b"GGUF" * 50_000, "m-Q8_0.gguf": b"GGUFGGUF"}
MODEL = "org/m/m-Q4_K_M"
CHAT = {"messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with HubServer() as server:
        server.add("org/m", FILES)
        server.add("other/m", FILES)
        yield server


@pytest.fixture
async def live(hub: HubServer, fake_engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Live]:
    """A gateway whose requests may pull `org/*`."""
    async with pulling(hub, fake_engine, tmp_path) as live:
        yield live


@asynccontextmanager
async def pulling(
    hub: HubServer, engine: FakeEngine, folder: Path, **settings: Any
) -> AsyncIterator[Live]:
    for name in FILES:
        engine.add(make_card(str(folder / "org/m" / name)))
    limits = settings.pop("limits", {})
    own = {"endpoint": hub.url, "allow": ["org/*"], **settings}
    limits = {"shutdown_seconds": 1, **limits}
    async with serving(engine, folder, hub=own, limits=limits) as live:
        yield live


async def order(live: Live, name: str) -> httpx.Response:
    return await live.http.post("/models", json={"model": name})


async def models_of(live: Live) -> list[str]:
    return [model["id"] for model in (await live.http.get("/models")).json()["data"]]


@asynccontextmanager
async def events(live: Live) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    async with live.http.stream("GET", "/models/sse") as response:
        lines = response.aiter_lines()
        assert await anext(lines) == ": listening"

        async def each() -> AsyncIterator[dict[str, Any]]:
            async for line in lines:
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

        yield each()


async def until(told: AsyncIterator[dict[str, Any]], event: str) -> dict[str, Any]:
    async for one in told:
        if one["event"] == event:
            return one
    raise EOFError


async def test_a_model_is_brought_and_told_of(live):
    """The router's events, and the model in the list by the last of them."""
    async with events(live) as told:
        assert (await order(live, "org/m")).json() == {"success": True}
        progress = await until(told, "download_progress")
        await until(told, "download_finished")

    assert progress["model"] == "org/m"
    assert progress["data"]["m-Q4_K_M.gguf"]["total"] == len(FILES["m-Q4_K_M.gguf"])
    assert await models_of(live) == [MODEL]


async def test_what_does_not_come_is_told_of(live):
    """With the reason."""
    async with events(live) as told:
        await order(live, "org/m:Q2_K")
        failed = await until(told, "download_failed")

    assert failed["data"]["code"] == "nothing_to_pull"
    assert "Q4_K_M, Q8_0" in failed["data"]["message"]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("other/m", 403, "not_allowed"),
        ("llama3", 400, "bad_reference"),
        ("a/../b", 400, "bad_reference"),
    ],
)
async def test_only_what_is_allowed_is_brought(live, hub, name, status, code):
    """The hub hears nothing of it."""
    reply = await order(live, name)

    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert hub.asked == []


async def test_nothing_is_allowed_by_itself(hub, fake_engine, tmp_path):
    """An operator has to name what requests may bring, or remove."""
    async with pulling(hub, fake_engine, tmp_path, allow=[]) as live:
        (tmp_path / "org/m").mkdir(parents=True)
        (tmp_path / "org/m/m-Q8_0.gguf").write_bytes(b"GGUF")

        assert (await order(live, "org/m")).status_code == 403
        gone = await live.http.delete("/models", params={"model": "org/m"})
        assert gone.status_code == 403
    assert (tmp_path / "org/m/m-Q8_0.gguf").exists()


async def test_unloading_ends_a_pull(live, hub):
    """Its process too; what came stays for the next."""
    hub.faults.append(held := Held("m-Q4_K_M.gguf", after=1000))
    async with events(live) as told:
        await order(live, "org/m")
        assert await asyncio.to_thread(held.reached.wait, 20)
        assert (await live.http.post("/models/unload", json={"model": "org/m"})).status_code == 200
        failed = await until(told, "download_failed")

    assert failed["data"]["code"] == "cancelled"
    assert live.services.pulls.running == []


async def test_a_model_is_removed(live, tmp_path):
    """From the disk and from the list; another one of its repository stays."""
    for name in ("org/m:Q4_K_M", "org/m:Q8_0"):
        await live.services.pulls.finished(live.services.pulls.start(_reference(name)))
    async with events(live) as told:
        reply = await live.http.delete("/models", params={"model": MODEL})
        removed = await until(told, "model_remove")

    assert (reply.json(), removed["model"]) == ({"success": True}, MODEL)
    assert await models_of(live) == ["org/m/m-Q8_0"]
    gone = await live.http.delete("/v1/models/org/m/m-Q8_0")
    assert gone.json() == {"id": "org/m/m-Q8_0", "object": "model", "deleted": True}
    assert not (tmp_path / "org").exists()
    assert (await live.http.delete("/models", params={"model": MODEL})).status_code == 404
    assert (await live.http.delete("/models")).status_code == 400


def _reference(name: str) -> Any:
    from gateway.hub.reference import read_reference

    return read_reference(name)


async def lines_of(live: Live, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with live.http.stream("POST", "/api/pull", json=body) as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        return [json.loads(line) async for line in response.aiter_lines()]


async def test_ollama_pulls(live):
    """A line for each step, the bytes by digest, and success at the end."""
    lines = await lines_of(live, {"model": "hf.co/org/m:latest"})

    statuses = [line["status"] for line in lines]
    digests = {line["digest"] for line in lines if "digest" in line}
    assert (statuses[0], statuses[-1]) == ("pulling manifest", "success")
    assert {"verifying sha256 digest", "writing manifest"} <= set(statuses)
    assert [len(digest) for digest in digests] == [len("sha256:") + 64]
    assert max(line.get("completed", 0) for line in lines) == len(FILES["m-Q4_K_M.gguf"])
    again = await live.http.post("/api/pull", json={"name": "org/m", "stream": False})
    assert again.json() == {"status": "success"}
    assert (await live.http.request("DELETE", "/api/delete", json={"model": MODEL})).content == b""
    assert await models_of(live) == []


async def test_ollama_hears_what_failed(live):
    """As a line once the stream has begun, as a status before."""
    assert "error" in (await lines_of(live, {"model": "org/nothing"}))[-1]
    refused = await live.http.post("/api/pull", json={"model": "llama3"})
    assert (refused.status_code, [*refused.json()]) == (400, ["error"])
    failed = await live.http.post("/api/pull", json={"model": "org/nothing", "stream": False})
    assert failed.status_code == 404
    assert (await live.http.post("/api/pull", json={})).status_code == 400


async def test_a_pull_that_nobody_wants_any_more_ends(live, hub):
    """As Ollama's does with its client."""
    hub.faults.append(held := Held("m-Q4_K_M.gguf", after=1000))
    async with live.http.stream("POST", "/api/pull", json={"model": "org/m"}) as response:
        lines = response.aiter_lines()
        await anext(lines)
        assert await asyncio.to_thread(held.reached.wait, 20)
        (pull,) = live.services.pulls.running

    await asyncio.wait({pull.outcome})
    assert pull.outcome.cancelled()


async def test_a_chat_brings_its_model(hub, fake_engine, tmp_path):
    """Where that is wanted; to look at a model brings nothing."""
    async with pulling(hub, fake_engine, tmp_path, pull_on_demand=True) as live:
        assert (await live.http.get("/v1/models/org/m")).status_code == 404
        assert hub.asked == []
        reply = await live.http.post("/v1/chat/completions", json=CHAT | {"model": "org/m"})
        assert (reply.status_code, reply.json()["model"]) == (200, MODEL)
        other = await live.http.post("/v1/chat/completions", json=CHAT | {"model": "other/m"})
        assert other.status_code == 404


async def test_a_stream_is_told_what_it_waits_for(hub, fake_engine, tmp_path):
    """How far the model is that it has brought."""
    hub.faults.append(held := Held("m-Q4_K_M.gguf", after=1000))
    wish = CHAT | {"model": "org/m", "stream": True}
    async with (
        pulling(hub, fake_engine, tmp_path, pull_on_demand=True, limits=IMPATIENT) as live,
        live.http.stream("POST", "/v1/chat/completions", json=wish) as reply,
    ):
        lines = reply.aiter_lines()
        line = await anext(lines)
        while not line.startswith(": pulling org/m "):
            line = await anext(lines)
        held.go.set()
        rest = [line async for line in lines if line]

    assert rest[-1] == "data: [DONE]"


async def test_only_so_many_wait(live, hub):
    """The next is asked to come again."""
    hub.faults.append(Held("main", times=99))
    for number in range(MAX_AT_ONCE + MAX_WAITING):
        assert (await order(live, f"org/m{number}")).status_code == 200
    joined = await order(live, "org/m0")
    refused = await order(live, "org/one-more")

    assert joined.status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")


async def test_a_chat_brings_nothing_unasked(live, hub):
    """It is off unless it is set."""
    reply = await live.http.post("/v1/chat/completions", json=CHAT | {"model": "org/m"})

    assert reply.status_code == 404
    assert hub.asked == []
