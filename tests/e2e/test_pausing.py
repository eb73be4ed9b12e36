"""Streams that are paused between two tokens because another model has waited long enough."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable

import httpx
import pytest

from crowd import PROMPT, client_of, follow, logged, metric, needs
from engine.kernels.cpu.library import is_available
from gateway_process import ROOT, Gateway, eventually

LONG, SHORT = "long", "short"
NUM_TOKENS = 2000 if is_available() else 300  # the reference is slower

SETTINGS = """
max_wait_seconds = 0.2
[pool]
drain_seconds = 0.1
min_dwell_seconds = 0
[limits]
keep_alive_seconds = 0.05
"""


Start = Callable[[], Gateway]


@pytest.fixture(scope="module")
def start(launch: Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts a gateway with memory for one of two models that have room for long texts."""
    folder = tmp_path_factory.mktemp("pausing")
    fixture = ROOT / "tests/fixtures/hunyuan-dense/hf"
    for name in (LONG, SHORT):
        shutil.copytree(fixture, folder / name)
    config = folder / "roundhouse.toml"
    config.write_text(SETTINGS)
    memory = str(needs([fixture])[0])
    return lambda: launch(folder, "--config", str(config), "--memory", memory)


@pytest.fixture(scope="module")
def gateway(start: Start) -> Gateway:
    return start()


async def test_a_long_stream_is_paused_for_another_model(gateway):
    """The other model answers before the stream has ended, and the stream is what it would be.

    Comments tell its client meanwhile that it is not forgotten.
    """
    async with client_of(gateway) as client:
        undisturbed = await asyncio.to_thread(text_of, gateway)
        begun = asyncio.Event()
        stream = asyncio.create_task(follow(client, LONG, NUM_TOKENS, begun=begun))
        await begun.wait()
        other = await follow(client, SHORT, NUM_TOKENS // 3)
        paused = await stream

    assert other.ended_at < paused.ended_at
    assert paused.text == undisturbed
    assert paused.finish_reason == "length"
    assert paused.usage["completion_tokens"] == NUM_TOKENS
    assert f": paused, the turn of {LONG} comes" in paused.comments
    assert logged(gateway, "model_pausing")[0]["makes_room_for"].startswith(SHORT)
    assert logged(gateway, "model_resuming")


async def test_a_paused_stream_whose_client_leaves_is_let_go_of(gateway):
    """Its model is not brought back for nobody, and its handle is gone."""
    abandoned = metric(gateway, "roundhouse_evictions_total", reason="abandoned")
    async with client_of(gateway) as client:
        stream, other = await one_paused_for_another(gateway, client)
        stream.cancel()
        await asyncio.to_thread(eventually, lambda: state(gateway) == "unloaded")
        reply = await other

    assert reply.finish_reason == "length"
    assert metric(gateway, "roundhouse_evictions_total", reason="abandoned") == abandoned + 1
    assert leases(gateway) == 0


async def test_a_worker_that_dies_takes_paused_streams_along(gateway):
    """They end with an error event, and what is asked next is served."""
    async with client_of(gateway) as client:
        stream, other = await one_paused_for_another(gateway, client)
        os.kill(gateway.child("engine.worker").pid, signal.SIGKILL)
        replies = await asyncio.gather(stream, other)
        after = await asyncio.gather(follow(client, LONG, 4), follow(client, SHORT, 4))

    assert [reply.error["message"] for reply in replies] == ["the worker of cpu was lost"] * 2
    assert [reply.finish_reason for reply in after] == ["length"] * 2


@pytest.mark.slow
async def test_a_gateway_that_stops_lets_paused_streams_finish(start):
    """SIGTERM during a pause: both streams take their turns until they are whole; status 0."""
    stopping = start()
    async with client_of(stopping) as client:
        stream, other = await one_paused_for_another(stopping, client)
        stopping.process.terminate()
        replies = await asyncio.gather(stream, other)

    assert [reply.finish_reason for reply in replies] == ["length"] * 2
    assert logged(stopping, "model_resuming")
    assert stopping.process.wait(30) == 0


def text_of(gateway: Gateway) -> str:
    reply = gateway.sdk.completions.create(
        model=LONG,
        prompt=PROMPT,
        max_tokens=NUM_TOKENS,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    return reply.choices[0].text


async def one_paused_for_another(
    gateway: Gateway, client: httpx.AsyncClient
) -> tuple[asyncio.Task, asyncio.Task]:
    """A stream that is paused now, and the one that has its room."""
    begun, served = asyncio.Event(), asyncio.Event()
    stream = asyncio.create_task(follow(client, LONG, NUM_TOKENS, begun=begun))
    await begun.wait()
    other = asyncio.create_task(follow(client, SHORT, NUM_TOKENS // 2, begun=served))
    await served.wait()
    await asyncio.to_thread(eventually, lambda: state(gateway) == "paused")
    return stream, other


def state(gateway: Gateway) -> str:
    return gateway.sdk.models.retrieve(LONG).state


def leases(gateway: Gateway) -> int:
    return sum(m["leases"] for m in httpx.get(f"{gateway.url}/v1/models").json()["data"])
