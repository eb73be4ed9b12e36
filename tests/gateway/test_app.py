import asyncio
import json
import signal

import httpx
import pytest

from gateway.app import Server, create_app
from gateway.config import SettingsError, load_settings
from tests.gateway.live import add_model, serving

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
URL = "/v1/chat/completions"


@pytest.mark.parametrize("text", [None, b"\xff", b"x" * 300_000])
def test_a_template_that_cannot_be_used_stops_the_start(fake_engine, tmp_path, text):
    """The operator named it, so it is not passed over."""
    path = tmp_path / "chat.jinja"
    if text is not None:
        path.write_bytes(text)

    with pytest.raises(SettingsError, match=r"chat\.jinja"):
        create_app(load_settings(None, {"chat_templates": {"m": str(path)}}), fake_engine)


def test_a_model_goes_only_to_devices_that_there_are(fake_engine, tmp_path):
    """They are fixed until the next start, so another name is a mistake."""
    settings = {"models_dir": tmp_path, "model": {"tiny": {"devices": ["cpu", "cpu:3"]}}}

    with pytest.raises(SettingsError, match=r"'tiny'.*'cpu:3' is not one of cpu"):
        create_app(load_settings(None, settings), fake_engine)


async def test_groups_follow_their_names(fake_engine, tmp_path):
    """A model of a group that has had its number makes room, though there is enough for both."""
    for model in ("org/one", "two"):
        add_model(fake_engine, tmp_path, model)
    groups = [{"name": "g", "models": ["ONE", "two", "late"], "at_most": 1}]
    pool = {"min_dwell_seconds": 0, "dwell_factor": 0}
    async with serving(fake_engine, tmp_path, groups=groups, pool=pool) as live:
        for model in ("one", "two", "late"):
            if model == "late":
                add_model(fake_engine, tmp_path, "late")
            reply = await live.http.post(URL, json=CHAT | {"model": model})
            assert reply.status_code == 200
            (loaded,) = (await live.http.get("/api/ps")).json()["models"]
            assert loaded["name"].endswith(model)


async def test_the_address_is_known_when_the_port_is_bound(fake_engine, tmp_path):
    """Port 0 takes a free one."""
    async with serving(fake_engine, tmp_path) as live:
        assert not live.url.endswith(":0")
        assert (await live.http.get("/livez")).status_code == 200


@pytest.fixture
async def streaming(request, fake_engine, tmp_path):
    """A server with a stream in its middle: the server, its task, and the stream's lines.

    Its parameter is the seconds of grace that streams have.
    """
    add_model(fake_engine, tmp_path, "tiny")
    limits = {"shutdown_seconds": getattr(request, "param", 30)}
    settings = load_settings(None, {"models_dir": tmp_path, "port": 0, "limits": limits})
    ready = asyncio.get_running_loop().create_future()
    server = Server(create_app(settings, fake_engine), settings, ready.set_result)
    task = asyncio.create_task(server.serve())
    host, port = (await ready).address
    fake_engine.gate.clear()
    fake_engine.step()
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        http.stream("POST", f"http://{host}:{port}{URL}", json=CHAT) as response,
    ):
        lines = response.aiter_lines()
        while "Hello" not in await anext(lines):
            pass
        yield server, task, lines
    await task


async def test_a_signal_lets_streams_end(streaming, fake_engine):
    """What was begun is finished, and no new request is wanted."""
    server, task, lines = streaming
    server.handle_exit(signal.SIGTERM, None)
    fake_engine.gate.set()

    rest = [line async for line in lines if line]
    await task

    assert rest[-1] == "data: [DONE]"
    assert server.config.app.state.services.is_draining


async def test_a_second_signal_ends_at_once(streaming, fake_engine):
    """Whoever asks twice will not wait for a stream, which still says why it ends."""
    server, task, lines = streaming
    server.handle_exit(signal.SIGTERM, None)
    server.handle_exit(signal.SIGTERM, None)

    rest = [line async for line in lines if line]
    await task

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert all(model.streams == 0 for model in fake_engine.models.values())


@pytest.mark.parametrize("streaming", [0.05], indirect=True)
async def test_a_stream_that_outlasts_the_grace_is_cut(streaming):
    """A server that should end does."""
    server, task, lines = streaming
    server.handle_exit(signal.SIGTERM, None)

    rest = [line async for line in lines if line]
    await task

    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
