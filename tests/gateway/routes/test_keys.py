"""Every limit of a key is crossed here, over HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import structlog
from msgspec.structs import fields

from gateway.app import create_app
from gateway.config import SettingsError, load_settings
from gateway.keys import keyring
from gateway.keys.key import Key, digest_of
from gateway.keys.table import Table
from gateway.openapi.operation import KEY
from gateway.reload import take_over
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import Live, add_model, serving

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a b"}]}
"""Two tokens of prompt, and four of answer."""
TOKENS = 6
ANN, BOB = "the-key-of-ann-1234", "the-key-of-bob-1234"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Keys are looked for anew with each request."""
    monkeypatch.setattr(keyring, "CHECK_SECONDS", 0.0)


@pytest.fixture
def served(fake_engine, tmp_path):
    """Serves: ann's key has the given rights, and bob's has none beyond `infer`."""
    for name in ("tiny", "other"):
        add_model(fake_engine, tmp_path, name, weights_bytes=600)

    @asynccontextmanager
    async def serve(rights: dict[str, object], **keys: object) -> AsyncIterator[Live]:
        path = tmp_path / "keys.json"
        entries = [{"name": "ann", "key": ANN} | rights, {"name": "bob", "key": BOB}]
        path.write_text(json.dumps({"keys": entries}))
        given = {"anonymous": [], "path": "off", "file": str(path)} | keys
        async with serving(fake_engine, tmp_path, keys=given) as live:
            yield live

    return serve


def auth(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def chat(live: Live, key: str = ANN, **body: object) -> httpx.Response:
    return await live.http.post("/v1/chat/completions", json=CHAT | body, headers=auth(key))


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_requests_per_minute(served):
    """The headers count down, and the one too many says when to come again; bob is not held up."""
    async with served({"requests_per_minute": 2}) as live:
        first, second, third = [await chat(live) for _ in range(3)]

        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert second.headers["x-ratelimit-remaining-requests"] == "0"
        assert refusal(third) == (429, "rate_limit_exceeded")
        assert third.headers["x-ratelimit-remaining-requests"] == "0"
        assert 25 <= int(third.headers["retry-after"]) <= 30
        assert (await chat(live, BOB)).status_code == 200


@pytest.mark.parametrize("is_stream", [False, True])
async def test_tokens_per_minute(served, is_stream):
    """Prompt and answer count, also of a stream."""
    async with served({"tokens_per_minute": TOKENS}) as live:
        assert (await chat(live, stream=is_stream)).status_code == 200
        response = await chat(live)

        assert refusal(response) == (429, "rate_limit_exceeded")
        assert "tokens per minute" in response.json()["error"]["message"]


async def test_an_embedding_counts_its_tokens(served, fake_engine, tmp_path):
    """They are computed like any others."""
    add_model(fake_engine, tmp_path, "vectors", tasks=("embedding",), embedding_size=2)
    async with served({"tokens_per_minute": 3}) as live:
        body = {"model": "vectors", "input": "a b c"}
        answers = [
            await live.http.post("/v1/embeddings", json=body, headers=auth(ANN)) for _ in range(2)
        ]

        assert [answer.status_code for answer in answers] == [200, 429]


async def test_requests_at_once(served, fake_engine):
    """While one streams there is no second; when it has ended there is again."""
    async with served({"concurrency": 1}) as live:
        fake_engine.gate.clear()
        body = CHAT | {"stream": True}
        fake_engine.step()
        async with live.http.stream(
            "POST", "/v1/chat/completions", json=body, headers=auth(ANN)
        ) as stream:
            assert refusal(await chat(live)) == (429, "rate_limit_exceeded")
            fake_engine.gate.set()
            await stream.aread()

        assert (await chat(live)).status_code == 200


async def test_a_response_in_the_background_is_a_request_too(served, fake_engine):
    """Until it is made: else a key could have any number of them made at once."""
    async with served({"concurrency": 1}) as live:
        fake_engine.gate.clear()
        body = {"model": "tiny", "input": "a", "background": True}
        made = [await live.http.post("/v1/responses", json=body, headers=auth(ANN)) for _ in "ab"]
        assert [response.status_code for response in made] == [200, 429]
        fake_engine.gate.set()
        await live.answered()

        assert (await chat(live)).status_code == 200


async def test_seconds_of_computing(served, fake_engine):
    """Once they are spent the key is of no use for today, and no client tries again in vain."""
    async with served({"device_seconds_per_day": 1e-9}) as live:
        assert (await chat(live)).status_code == 200
        response = await chat(live)

        assert refusal(response) == (429, "insufficient_quota")
        assert response.headers["x-should-retry"] == "false"
        assert "retry-after" not in response.headers


async def test_seconds_outlive_the_server(served, tmp_path):
    """What was used is in the database when the server has ended, and counts from the next start."""
    path = str(tmp_path / "keys.sqlite")
    async with served({"device_seconds_per_month": 1e-9}, path=path) as live:
        assert (await chat(live)).status_code == 200
    async with served({"device_seconds_per_month": 1e-9}, path=path) as live:
        assert refusal(await chat(live)) == (429, "insufficient_quota")


async def test_other_models_are_not_there(served):
    """Neither listed nor found, whatever asks for them: as if they did not exist."""
    async with served({"models": ["ti*"], "scopes": ["infer", "manage"]}) as live:
        for path, ids in (("/v1/models", "data"), ("/api/tags", "models")):
            listed = (await live.http.get(path, headers=auth(ANN))).json()[ids]
            assert [model.get("id") or model["name"] for model in listed] in (
                ["tiny"],
                ["tiny:latest"],
            )
        assert refusal(await chat(live, model="other")) == (404, "model_not_found")
        unknown = (await chat(live, model="absent")).json()["error"]["message"]
        hidden = (await chat(live, model="other")).json()["error"]["message"]
        assert hidden == unknown.replace("absent", "other")
        assert (await chat(live, BOB, model="other")).status_code == 200


async def test_a_model_may_be_allowed_by_an_alias(served):
    """As its clients know it; then it is the same model under each of its names."""
    async with served({"models": ["fast"]}) as live:
        assert refusal(await chat(live, model="fast")) == (404, "model_not_found")
        folder, keys = live.services.settings.models_dir, live.services.settings.keys
        values = {"models_dir": folder, "aliases": {"fast": "tiny"}, "keys": {"anonymous": []}}
        take_over(live.services, load_settings(None, values, {}))
        assert live.services.settings.keys == keys

        assert (await chat(live, model="fast")).status_code == 200
        assert (await chat(live, model="tiny")).status_code == 200
        assert refusal(await chat(live, model="other")) == (404, "model_not_found")
        listed = (await live.http.get("/v1/models", headers=auth(ANN))).json()["data"]
        assert [model["id"] for model in listed] == ["tiny"]


TEXTS = {"prompt": "a", "content": "a", "query": "a", "documents": ["a"], "max_tokens": 1}
TEXTS |= {"input_prefix": "a", "input_suffix": "a"}
MESSAGES = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
BODIES = {
    "/v1/chat/completions": MESSAGES,
    "/v1/completions": TEXTS,
    "/v1/embeddings": {"input": "a"},
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
    "/v1/responses": {"input": "a"},
    "/v1/responses/input_tokens": {"input": "a"},
    "/api/chat": MESSAGES,
    "/api/generate": TEXTS,
    "/api/embed": {"input": "a"},
    "/api/embeddings": {"prompt": "a"},
    "/api/show": {},
    "/tokenize": TEXTS,
    "/detokenize": {"tokens": [1]},
    "/infill": TEXTS,
    "/apply-template": MESSAGES,
    "/v1/rerank": TEXTS,
    "/v1/models/load": {},
    "/v1/models/unload": {},
    "/v1/models/pin": {},
    "/v1/models/unpin": {},
    "/v1/models/plan": {},
    "/v1/models/show": {},
}


NAMED_FOR_THE_HUB = {"pull_model", "pull_ollama_model", "delete_ollama_model"}
"""Their models need not be here; tests of their own say who may pull and remove them."""


def names_in(struct) -> set[str]:
    return {field.name for field in fields(struct)}


def test_every_route_that_takes_a_model_is_tried(tmp_path):
    """So that a new one cannot forget whose models it finds."""
    app = create_app(load_settings(None, {"models_dir": tmp_path}), FakeEngine())
    taking: dict[str, set[str]] = {}
    for route in app.routes:
        for operation in (handler.opt.get(KEY) for handler in route.route_handlers):
            if operation and operation.body and "model" in names_in(operation.body.type):
                taking.setdefault(operation.id, set()).add(route.path)
    untried = {name for name, paths in taking.items() if not paths & BODIES.keys()}

    assert untried == NAMED_FOR_THE_HUB


async def test_no_route_finds_another_model(served):
    """Each that takes a model's name answers as to a name that is nobody's."""
    async with served({"models": ["tiny"], "scopes": ["infer", "manage"]}) as live:
        for path, body in BODIES.items():
            asked = body | {"model": "other"}
            response = await live.http.post(path, json=asked, headers=auth(ANN))

            assert response.status_code == 404, f"{path}: {response.text}"
        assert (await live.http.get("/v1/models/other", headers=auth(ANN))).status_code == 404
        assert not live.engine.loads


async def test_a_key_that_may_not_swap(served, fake_engine):
    """It uses what is in memory; it brings nothing there, and so drives nothing out."""
    async with served({"may_swap": False, "scopes": ["infer", "manage"]}) as live:
        assert refusal(await chat(live)) == (403, "swap_not_allowed")
        load = await live.http.post("/v1/models/load", json={"model": "tiny"}, headers=auth(ANN))
        assert load.status_code == 403
        assert not fake_engine.loads

        assert (await chat(live, BOB)).status_code == 200
        assert (await chat(live)).status_code == 200


async def test_each_key_has_a_cache_of_its_own(served, fake_engine):
    """But for those that share theirs; work of no key is in the shared one too."""
    async with served({"shares_cache": True}, anonymous=["infer"]) as live:
        for key in (ANN, BOB, "none"):
            await chat(live, key)
        salts = [run.salt for _, _, runs in fake_engine.generations for run in runs]

        assert salts == ["", digest_of(BOB)[:16], ""]


async def test_a_response_is_its_keys(served):
    """Another key does not find it, go on from it, cancel it or delete it."""
    async with served({}) as live:
        body = {"model": "tiny", "input": "a"}
        made = await live.http.post("/v1/responses", json=body, headers=auth(ANN))
        path = f"/v1/responses/{made.json()['id']}"
        further = body | {"previous_response_id": made.json()["id"]}

        for method, end in (
            ("GET", ""),
            ("GET", "/input_items"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ):
            response = await live.http.request(method, path + end, headers=auth(BOB))
            assert response.status_code == 404
        response = await live.http.post("/v1/responses", json=further, headers=auth(BOB))
        assert refusal(response) == (400, "previous_response_not_found")

        response = await live.http.post("/v1/responses", json=further, headers=auth(ANN))
        assert response.status_code == 200
        assert (await live.http.get(path, headers=auth(ANN))).status_code == 200


async def test_a_response_in_the_background_is_its_keys(served, fake_engine):
    """While it is made, too."""
    async with served({}) as live:
        fake_engine.gate.clear()
        body = {"model": "tiny", "input": "a", "background": True}
        made = await live.http.post("/v1/responses", json=body, headers=auth(ANN))
        path = f"/v1/responses/{made.json()['id']}"

        for method, end in (
            ("GET", ""),
            ("GET", "/input_items"),
            ("POST", "/cancel"),
            ("DELETE", ""),
        ):
            response = await live.http.request(method, path + end, headers=auth(BOB))
            assert response.status_code == 404
        assert (await live.http.get(path, headers=auth(ANN))).json()["status"] != "cancelled"
        fake_engine.gate.set()
        await live.answered()


async def test_a_revoked_key_is_refused_while_its_stream_ends_well(served, fake_engine, tmp_path):
    """Nothing that runs is cut; nothing new begins."""
    path = tmp_path / "keys.sqlite"
    table = Table(path)
    table.add(Key(name="eve", digest=digest_of("the-key-of-eve-1234")), now=1)
    async with served({}, path=str(path)) as live:
        fake_engine.gate.clear()
        fake_engine.step()
        headers, body = auth("the-key-of-eve-1234"), CHAT | {"stream": True}
        async with live.http.stream(
            "POST", "/v1/chat/completions", json=body, headers=headers
        ) as stream:
            pieces = stream.aiter_text()
            said = await anext(pieces)
            table.remove("eve")
            response = await chat(live, "the-key-of-eve-1234")
            assert refusal(response) == (401, "invalid_api_key")

            fake_engine.gate.set()
            said += "".join([piece async for piece in pieces])

    table.close()
    assert said.count('"content":"') >= 4
    assert said.endswith("data: [DONE]\n\n")


async def test_an_expired_key_is_refused(served):
    """It says why, to whoever holds it."""
    async with served({"expires": "2020-01-01T00:00:00Z"}) as live:
        response = await chat(live)

        assert refusal(response) == (401, "invalid_api_key")
        assert "expired" in response.json()["error"]["message"]


async def test_where_nobody_needs_a_key(served):
    """Clients send some word all the same, which is none of ours; a key that was ours is refused."""
    async with served({}, anonymous=["infer"]) as live:
        for sent, status, manage in (
            (None, 200, 401),
            ("none", 200, 401),
            ("sk-1234", 200, 401),
            (BOB, 200, 403),
            ("rh-gone", 401, 401),
        ):
            headers = auth(sent) if sent else {}
            assert (await live.http.get("/v1/models", headers=headers)).status_code == status
            assert (await live.http.get("/metrics", headers=headers)).status_code == manage


async def test_refusals_are_counted_by_reason(served):
    """And by name, where the operator wants that; only names of keys that there are."""
    async with served({"requests_per_minute": 1}, metrics_by_key=True, open_metrics=True) as live:
        await chat(live)
        await chat(live)
        await chat(live, "rh-unknown")
        await live.http.get("/v1/models")
        metrics = (await live.http.get("/metrics")).text

    for line in (
        'roundhouse_keys_refused_total{key="ann",reason="requests"} 1.0',
        'roundhouse_keys_refused_total{key="",reason="unknown_key"} 1.0',
        'roundhouse_keys_refused_total{key="anonymous",reason="no_key"} 1.0',
    ):
        assert line in metrics


async def test_logs_have_the_keys_name_and_never_the_key(served):
    """Of good ones and of bad ones."""
    with structlog.testing.capture_logs() as lines:
        async with served({}) as live:
            await chat(live)
            await chat(live, "rh-unknown")

    assert [line["key"] for line in lines if line.get("status") == 200] == ["ann"]
    assert ANN not in str(lines)
    assert "rh-unknown" not in str(lines)


async def test_an_admin_sees_what_was_used(served):
    """Names, rights and use; nothing that would let the keys be used."""
    async with served({"scopes": ["infer", "admin"], "device_seconds_per_day": 60}) as live:
        await chat(live)
        reply = await live.http.get("/v1/keys", headers=auth(ANN))

        ann, bob = reply.json()["data"]
        assert (ann["name"], ann["scopes"], bob["name"]) == ("ann", ["admin", "infer"], "bob")
        assert ann["device_seconds_today"] > 0
        assert digest_of(ANN) not in reply.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5"])
def test_who_may_use_a_server_on_the_network_must_be_said(tmp_path, host):
    """It does not start otherwise, and says what to do."""
    settings = {"models_dir": tmp_path, "host": host, "keys": {"path": "off"}}
    with pytest.raises(SettingsError, match="roundhouse key create"):
        create_app(load_settings(None, settings), FakeEngine())

    settings["keys"] = {"path": "off", "anonymous": ["infer"]}
    create_app(load_settings(None, settings), FakeEngine())


async def test_time_on_a_device_is_what_a_request_has_it_for(served, fake_engine):
    """From the grant of its model to its end."""
    async with served({"device_seconds_per_day": 1000}) as live:
        gate, now = live.services.gate, [100.0]
        gate.clock = lambda: now[0]
        fake_engine.gate.clear()
        fake_engine.step()
        body, path = CHAT | {"stream": True}, "/v1/chat/completions"
        async with live.http.stream("POST", path, json=body, headers=auth(ANN)) as stream:
            now[0] += 10
            fake_engine.gate.set()
            await stream.aread()
        now[0] += 5
        await live.answered()

        used = gate.book.today(digest_of(ANN)[:16], gate.moment.date)
        assert used == pytest.approx(10)
