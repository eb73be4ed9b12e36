"""Who makes room, who waits, and who is told that there is none; nothing is paused here."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from crowd import client_of, collect, follow, logged, metric, needs
from gateway_process import Gateway, eventually

LARGE = "SmolLM2-135M-Instruct-Q4_1"
TOO_LARGE = "gemma-3-270m-Q4_K_M"
SMALL = "qwen3-dense"
MAX_CONTEXT = 1024

SETTINGS = f"""
max_context = {MAX_CONTEXT}
max_wait_seconds = 0.2
warm_memory = 0
[pool]
pausing = false
[limits]
queue_per_model = 2
"""


@pytest.fixture(scope="module")
def gateway(
    launch: Callable[..., Gateway], demo_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """Memory for the large model alone. It is read anew by each load, which takes a while."""
    folder = collect(tmp_path_factory.mktemp("room"), [f"{SMALL}/hf"])
    for name in (LARGE, TOO_LARGE):
        (folder / f"{name}.gguf").symlink_to(demo_models / f"{name}.gguf")
    config = folder / "roundhouse.toml"
    config.write_text(SETTINGS)
    (memory,) = needs([demo_models / f"{LARGE}.gguf"], MAX_CONTEXT)
    options = ("--config", str(config), "--image-cache", "off")
    return launch(folder, *options, "--memory", str(memory))


async def test_a_load_that_nobody_waits_for_any_more_is_stopped(gateway):
    """Its only client left, so the model never becomes ready."""
    before = num_loads(gateway, "loaded")
    async with client_of(gateway) as client:
        await client.post("/models/unload", json={"model": LARGE})
        await asyncio.to_thread(eventually, lambda: shown(gateway, LARGE).state == "unloaded")
        request = asyncio.create_task(follow(client, LARGE, 1))
        await asyncio.to_thread(eventually, lambda: shown(gateway, LARGE).state == "loading")
        request.cancel()
        await asyncio.to_thread(eventually, lambda: shown(gateway, LARGE).state == "unloaded")

    assert num_loads(gateway, "cancelled") == 1
    assert num_loads(gateway, "loaded") == before


def num_loads(gateway: Gateway, outcome: str) -> float:
    return metric(gateway, "roundhouse_loads_total", model=LARGE, outcome=outcome)


async def test_without_pausing_a_stream_runs_to_its_end(gateway):
    """Who needs its room waits until then, and is served."""
    begun = asyncio.Event()
    async with client_of(gateway) as client:
        stream = asyncio.create_task(follow(client, LARGE, 100, begun=begun))
        await begun.wait()
        other = await follow(client, SMALL, 4)
        first = await stream

    assert (first.finish_reason, other.finish_reason) == ("length", "length")
    assert first.ended_at < other.began_at
    assert not logged(gateway, "model_pausing")


async def test_a_full_queue_is_said_at_once(gateway):
    """429, and when to come again; those who were there before are served."""
    begun = asyncio.Event()
    async with client_of(gateway) as client:
        stream = asyncio.create_task(follow(client, LARGE, 900, begun=begun))
        await begun.wait()
        waiting = [asyncio.create_task(follow(client, SMALL, 1)) for _ in range(2)]
        await asyncio.to_thread(eventually, lambda: shown(gateway, SMALL).waiting == 2)
        refused = await client.post("/v1/completions", json=asking(SMALL))
        stream.cancel()
        served = await asyncio.gather(*waiting)

    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert [reply.finish_reason for reply in served] == ["length", "length"]


def test_a_request_may_send_its_model_away(gateway):
    """keep_alive 0 unloads it once the request has ended."""
    assert ask(gateway, SMALL, keep_alive=0).status_code == 200

    eventually(lambda: shown(gateway, SMALL).state == "unloaded")
    assert logged(gateway, "model_evicting")[-1]["reason"] == "expired"


def test_what_only_a_pinned_model_keeps_out_is_refused(gateway):
    """At once, and clients need not try again; the pinned one stays."""
    ask(gateway, SMALL)
    httpx.post(f"{gateway.url}/v1/models/pin", json={"model": SMALL}).raise_for_status()

    refused = ask(gateway, LARGE)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (503, "false")
    assert shown(gateway, SMALL).state == "loaded"

    httpx.post(f"{gateway.url}/v1/models/unpin", json={"model": SMALL}).raise_for_status()
    assert ask(gateway, LARGE).status_code == 200


def test_what_can_never_fit_is_refused(gateway):
    """507, and nothing is evicted for it."""
    evicted = len(logged(gateway, "model_evicting"))

    refused = ask(gateway, TOO_LARGE)

    assert (refused.status_code, refused.headers["x-should-retry"]) == (507, "false")
    assert len(logged(gateway, "model_evicting")) == evicted


def asking(model: str, **settings: object) -> dict[str, object]:
    return {"model": model, "prompt": "one", "max_tokens": 1, "temperature": 0} | settings


def ask(gateway: Gateway, model: str, **settings: object) -> httpx.Response:
    body = asking(model, **settings)
    return httpx.post(f"{gateway.url}/v1/completions", json=body, timeout=60)


def shown(gateway: Gateway, model: str):
    return gateway.sdk.models.retrieve(model)
