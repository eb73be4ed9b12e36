"""Settings that change while requests run, over a fake engine."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from gateway.app import Server, create_app
from gateway.config import SettingsError, load_settings
from gateway.config.source import Source
from gateway.reload import take_over
from gateway.routes.services import Services
from tests.gateway.live import Live, add_model, serving, until

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
URL = "/v1/chat/completions"


@pytest.fixture
async def live(fake_engine, tmp_path):
    for name in ("tiny", "other"):
        add_model(fake_engine, tmp_path, name)
    async with serving(fake_engine, tmp_path, aliases={"fast": "tiny"}) as live:
        yield live


def told(live: Live, **changed: object) -> None:
    """Takes over the settings with these in place of their own."""
    folder = live.services.settings.models_dir
    take_over(live.services, load_settings(None, {"models_dir": folder, **changed}, {}))


async def ask(live: Live, **fields: object) -> httpx.Response:
    return await live.http.post(URL, json=CHAT | fields)


async def test_names_change_at_once(live):
    """An alias that is new is there, one that is gone is not, and presets come as they are."""
    assert (await ask(live, model="fast")).status_code == 200
    told(live, aliases={"quick": "tiny"}, presets={"terse": {"model": "tiny", "max_tokens": 2}})

    assert (await ask(live, model="fast")).status_code == 404
    assert (await ask(live, model="quick")).status_code == 200
    assert (await ask(live, model="terse")).json()["usage"]["completion_tokens"] == 2


async def test_limits_change_at_once(live):
    """Those of bodies, of connections that are open, and of choices."""
    told(live, limits={"body_bytes": 100, "choices": 1})
    assert (await ask(live, user="x" * 100)).status_code == 413
    told(live, limits={"choices": 1})

    assert (await ask(live, user="x" * 100)).status_code == 200
    assert (await ask(live, n=2)).status_code == 400


async def test_hosts_and_origins_change_at_once(live):
    """Who may use the server from a browser."""
    headers = {"origin": "https://page.example", "host": "name.example"}
    assert (await live.http.get("/v1/models", headers=headers)).status_code == 403
    told(live, allowed_hosts=["name.example"], cors_origins=["https://page.example"])

    assert (await live.http.get("/v1/models", headers=headers)).status_code == 200


async def test_a_template_is_used_from_the_next_request_on(live, tmp_path):
    """Of a model that is loaded too; it is inspected anew, since it may do other things now."""
    template = tmp_path / "chat.jinja"
    for text in ("one", "two"):
        template.write_text(text)
        told(live, model={"tiny": {"chat_template": str(template)}})
        await ask(live)

        assert live.engine.prepared[-1][0].chat_template == text


async def test_a_pin_counts_at_once(live):
    """A model that is loaded need not be asked for first."""
    await ask(live)
    told(live, model={"tiny": {"pin": True}})
    assert (await live.http.get("/v1/models/tiny")).json()["pinned"]
    told(live)

    assert not (await live.http.get("/v1/models/tiny")).json()["pinned"]


async def test_what_is_loaded_keeps_its_context(live):
    """The cache that a model was given is the one that it has, until it is loaded again."""
    await ask(live)
    told(live, model={"tiny": {"context": 64}, "other": {"context": 64}})

    shown = {
        m["id"]: m["max_model_len"] for m in (await live.http.get("/v1/models")).json()["data"]
    }
    assert shown == {"tiny": 2048, "other": 64}


async def test_a_dtype_holds_from_the_next_load_on(live):
    """What is loaded in another, pinned or not, goes once it has answered; nothing else does."""
    for name in ("tiny", "other"):
        await ask(live, model=name)
    live.engine.gate.clear()
    asked = asyncio.create_task(ask(live))
    await until(lambda: len(live.engine.generations) == 3)
    told(live, model={"tiny": {"dtype": "float32", "pin": True}, "other": {"pin": True}})
    told(live, model={"tiny": {"kv_dtype": "q8_0", "pin": True}, "other": {"pin": True}})
    assert live.engine.evictions == []

    live.engine.gate.set()
    assert (await asked).status_code == 200
    await until(lambda: live.engine.evictions == [1])
    assert (await ask(live)).status_code == 200
    assert [order.kv_dtype for order in live.engine.loads] == ["auto", "auto", "q8_0"]
    assert (await live.http.get("/v1/models/other")).json()["state"] == "loaded"


async def test_mistakes_change_nothing(live):
    """Whatever is found wrong, and wherever: all of it or nothing."""
    before = live.services.settings
    mistakes = [
        {"aliases": {"new": "tiny"}, "model": {"tiny": {"devices": ["cpu:7"]}}},
        {"aliases": {"new": "tiny"}, "chat_templates": {"tiny": "/nowhere"}},
        {"aliases": {"new": "tiny"}, "model": {"tiny": {"template_kwargs": {"x": 1}}}},
        {"aliases": {"new": "tiny"}, "model": {"other": {"aliases": ["new"]}}},
    ]
    for mistake in mistakes:
        with pytest.raises(SettingsError):
            told(live, **mistake)

    assert live.services.settings is before
    assert (await ask(live, model="new")).status_code == 404


async def test_who_needs_no_key_changes_at_once(live):
    """For requests to come; what was asked before is answered."""
    told(live, keys={"anonymous": []})
    assert (await ask(live)).status_code == 401
    assert (await live.http.get("/metrics")).status_code == 401
    told(live, keys={"anonymous": ["infer"], "open_metrics": True})

    assert (await ask(live)).status_code == 200
    assert (await live.http.get("/metrics")).status_code == 200


async def test_a_stream_goes_on_under_a_reload(live, fake_engine):
    """Nothing that was begun is ended, though its alias is gone."""
    fake_engine.gate.clear()
    fake_engine.step()
    async with live.http.stream(
        "POST", URL, json=CHAT | {"model": "fast", "stream": True}
    ) as reply:
        told(live, limits={"choices": 1, "body_bytes": 10})
        fake_engine.gate.set()
        lines = [line async for line in reply.aiter_lines() if line]

    assert lines[-1] == "data: [DONE]"


@pytest.fixture
async def watched(fake_engine, tmp_path, monkeypatch):
    """A server's services and its file, which is looked at all the time."""
    monkeypatch.setattr("gateway.reload.LOOK_SECONDS", 0.01)
    add_model(fake_engine, tmp_path, "tiny")
    file = tmp_path / "roundhouse.toml"
    file.write_text("port = 0")
    source = Source(lambda: load_settings(file, {"models_dir": tmp_path}, {}), file)
    settings = source.load()
    ready = asyncio.get_running_loop().create_future()
    server = Server(create_app(settings, fake_engine), settings, ready.set_result, source)
    task = asyncio.create_task(server.serve())
    state = await ready
    yield state.services, file, server
    server.should_exit = True
    await task


async def reloaded(services: Services, outcome: str, times: int = 1) -> None:
    name = "roundhouse_config_reloads_total"
    count = services.registry.get_sample_value
    await until(lambda: (count(name, {"outcome": outcome}) or 0) >= times)


def is_current(services: Services) -> bool:
    return services.registry.get_sample_value("roundhouse_config_last_reload_successful") == 1


def write(file: Path, text: str) -> None:
    """As Kubernetes and editors do: another file takes its place."""
    file.with_suffix(".new").write_text(text)
    file.with_suffix(".new").rename(file)


async def test_a_file_that_changes_is_read(watched):
    """What needs a restart is said, and is as it was."""
    services, file, _ = watched
    with capture_logs() as logs:
        write(file, 'port = 1\n[aliases]\nfast = "tiny"')
        await reloaded(services, "applied")

    assert (services.settings.aliases, services.settings.port) == ({"fast": "tiny"}, 0)
    found = {line["event"]: line for line in logs}
    assert found["settings_reloaded"]["changed"] == ("aliases.fast",)
    assert found["settings_need_restart"]["settings"] == ("port",)


async def test_a_file_with_mistakes_leaves_the_settings(watched):
    """Until it is mended: the log and the metrics tell, and the server is ready all the while."""
    services, file, _ = watched
    write(file, "[limits]\nchoices = 3")
    await reloaded(services, "applied")
    with capture_logs() as logs:
        write(file, "prot = 1")
        await reloaded(services, "refused")

    assert (services.settings.limits.choices, is_current(services)) == (3, False)
    assert "prot" in next(line["reason"] for line in logs if line["event"] == "settings_refused")
    write(file, "[limits]\nchoices = 4")
    await reloaded(services, "applied", 2)
    assert (services.settings.limits.choices, is_current(services)) == (4, True)


async def test_a_template_that_changes_is_read(watched, tmp_path):
    """Though the file that names it is as it was."""
    services, file, _ = watched
    template = tmp_path / "chat.jinja"
    template.write_text("one")
    write(file, f'[chat_templates]\ntiny = "{template}"')
    await reloaded(services, "applied")
    write(template, "two!")
    await reloaded(services, "applied", 2)

    assert (await services.catalog.resolve("tiny")).chat_template == "two!"


async def test_a_template_that_is_missing_may_come_later(watched, tmp_path):
    """The file that names it needs no second change."""
    services, file, _ = watched
    template = tmp_path / "chat.jinja"
    write(file, f'[chat_templates]\ntiny = "{template}"')
    await reloaded(services, "refused")
    template.write_text("here")
    await reloaded(services, "applied")

    assert (await services.catalog.resolve("tiny")).chat_template == "here"


async def test_a_signal_has_it_read(watched):
    """Even if nothing has changed, as after an environment that comes from elsewhere."""
    services, _, _ = watched
    os.kill(os.getpid(), signal.SIGHUP)

    await reloaded(services, "applied")
