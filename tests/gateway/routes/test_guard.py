"""No route without a lock: who is let in where, and what is said to everybody else."""

import httpx
import pytest
from litestar import get
from litestar.routes import HTTPRoute

from gateway.app import create_app
from gateway.config import load_settings
from gateway.openapi.operation import KEY
from gateway.routes.guard import METHODS_ONLY, UndeclaredRoute, access_of
from tests.gateway.fakes import FakeEngine
from tests.gateway.live import Live, add_model, serving

OPEN = {"/", "/livez", "/readyz", "/health"}
KEYS = {
    "infer": "the-key-of-a-user-1",
    "manage": "the-key-of-a-manager",
    "admin": "the-key-of-an-admin-",
}
SOON = 5.0
"""Streams that only listen never end."""


def routes_of(app):
    """(path, method, handler) of each, apart from Litestar's own answers to OPTIONS."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is no route that the guard sees"
        for handler in route.route_handlers:
            if not handler.http_methods <= METHODS_ONLY:
                yield from ((route.path, method, handler) for method in handler.http_methods)


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    settings = load_settings(None, {"models_dir": tmp_path_factory.mktemp("models")})
    return list(routes_of(create_app(settings, FakeEngine())))


@pytest.fixture
async def live(fake_engine, tmp_path):
    """A gateway where each key has one scope, and nobody without one gets anywhere."""
    add_model(fake_engine, tmp_path, "tiny", weights_bytes=10)
    entries = [f'[[keys]]\nname = "{s}"\nkey = "{k}"\nscopes = ["{s}"]' for s, k in KEYS.items()]
    path = tmp_path / "keys.toml"
    path.write_text("\n".join(entries))
    keys = {"anonymous": [], "path": "off", "file": str(path)}
    async with serving(fake_engine, tmp_path, keys=keys) as live:
        yield live


async def status_of(live: Live, path: str, method: str, key: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    concrete = path.replace("{model_id:path}", "tiny").replace("{response_id:str}", "resp_1")
    assert "{" not in concrete, f"{path}: say here what stands for its parameter"
    async with live.http.stream(method, concrete, headers=headers, timeout=SOON) as response:
        if "event-stream" not in response.headers.get("content-type", ""):
            await response.aread()
        return response


def test_every_route_says_what_it_is_for(routes):
    """A route that is forgotten lets nobody in, and is found here."""
    undeclared = []
    for path, method, handler in routes:
        try:
            access_of(handler)
        except UndeclaredRoute:
            undeclared.append(f"{method} {path}")

    assert not undeclared


async def test_a_route_that_says_nothing_lets_nobody_in():
    """Not even with every right: a door without a lock is none."""

    @get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(UndeclaredRoute, match="scope"):
        access_of(forgotten)


def test_what_is_open_to_all_is_known(routes):
    """A sign of life, and nothing else."""
    assert {path for path, _, handler in routes if handler.opt[KEY].scope == "open"} == OPEN


async def test_without_a_key_every_door_is_shut(live, routes):
    """A request without a key, and one with a wrong key, gets 401 everywhere; no body is read."""
    for path, method, _ in routes:
        if path not in OPEN:
            for key in (None, "rh-wrong"):
                response = await status_of(live, path, method, key)

                assert response.status_code == 401, f"{method} {path}"
                assert response.headers["www-authenticate"] == 'Bearer realm="roundhouse"'
    assert not live.engine.prepared


async def test_each_scope_opens_its_own_doors_alone(live, routes):
    """Every route with every key: 403 for the wrong one, and anything else for the right one."""
    for path, method, handler in routes:
        wanted = handler.opt[KEY].scope.replace("metrics", "manage")
        for scope, key in KEYS.items():
            if wanted == "open":
                continue
            response = await status_of(live, path, method, key)

            is_shut = response.status_code == 403 and "lacks the scope" in response.text
            assert is_shut is (scope != wanted), f"{method} {path} {scope}"
            assert response.status_code != 401, f"{method} {path} {scope}"


async def test_open_doors_need_no_key_and_mind_none(live):
    """A probe is answered whatever it sends; it is told nothing about models."""
    for path in OPEN:
        response = await status_of(live, path, "GET", "rh-wrong")

        assert response.status_code == 200


async def test_metrics_may_be_opened(fake_engine, tmp_path):
    """For a Prometheus that has no key."""
    keys = {"anonymous": [], "path": "off", "open_metrics": True}
    async with serving(fake_engine, tmp_path, keys=keys) as live:
        assert (await live.http.get("/metrics")).status_code == 200
        assert (await live.http.get("/v1/models")).status_code == 401


async def test_a_path_that_is_not_there_is_a_404(live):
    """Also without a key: the routes are in the documentation anyway."""
    assert (await live.http.get("/v1/nothing")).status_code == 404


async def test_preflights_need_no_key(live):
    """A browser sends none with them; the request itself still does."""
    headers = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-api-key",
    }
    response = await live.http.options("/v1/chat/completions", headers=headers)

    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == "authorization, x-api-key"


@pytest.mark.parametrize(
    ("path", "wrong", "missing"),
    [
        ("/v1/chat/completions", ("error", "code"), "invalid_api_key"),
        ("/v1/messages", ("error", "type"), "authentication_error"),
        ("/api/chat", ("error",), "You didn't provide an API key."),
    ],
)
async def test_each_dialect_has_its_own_401(live, path, wrong, missing):
    """So that each client's library raises what its users expect."""
    body = (await live.http.post(path, json={})).json()
    for name in wrong:
        body = body[name]

    assert body.startswith(missing)


async def test_anthropics_header_is_a_key_too(live):
    """As its SDK sends it."""
    response = await live.http.get("/v1/models", headers={"x-api-key": KEYS["infer"]})

    assert response.status_code == 200


async def test_a_403_says_which_scope_is_missing(live):
    """And whose key it was; never the key."""
    response = await status_of(live, "/v1/keys", "GET", KEYS["infer"])
    error = response.json()["error"]

    assert (error["type"], error["code"]) == ("permission_error", "insufficient_permissions")
    assert "'admin'" in error["message"]
    assert KEYS["infer"] not in response.text
