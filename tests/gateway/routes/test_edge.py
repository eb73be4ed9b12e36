import pytest
import structlog

from tests.gateway.live import serving


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/v1/models/nothing"])
async def test_every_reply_has_a_request_id(live, path):
    """Errors too, whichever layer made them."""
    first, second = [(await live.http.get(path)).headers["x-request-id"] for _ in range(2)]

    assert first != second


async def test_a_clients_id_is_echoed(live):
    """So that it can find its request in our log."""
    response = await live.http.get("/livez", headers={"x-request-id": "my.own_id-1"})

    assert response.headers.get_list("x-request-id") == ["my.own_id-1"]


@pytest.mark.parametrize("given", ["a b", "x" * 129, "ä", "a;b"])
async def test_a_strange_id_is_not_echoed(live, given):
    """A header value is not ours to repeat unless it is plainly harmless."""
    response = await live.http.get("/livez", headers={"x-request-id": given.encode()})

    assert response.headers["x-request-id"].startswith("req_")


async def test_one_line_per_request(live):
    """With the model it meant, its status and its tokens."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a b"}]}
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as lines:
        await live.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "r1"})
        await live.http.get("/livez")

    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["method"], line["path"]) == ("POST", "/v1/chat/completions")
    assert (line["status"], line["model"], line["request_id"]) == (200, "org/tiny", "r1")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (2, 4)
    assert line["seconds"] >= 0


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil"])
async def test_a_rebound_name_is_refused(live, host):
    """On loopback only loopback's own names are answered, whatever a proxy header claims."""
    headers = {"host": host, "x-forwarded-host": "localhost"}
    response = await live.http.get("/v1/models", headers=headers)

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden_origin"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:8080", "[::1]:9"])
async def test_loopbacks_own_names_are_answered(live, host):
    """With any port, since a tunnel may change it."""
    assert (await live.http.get("/livez", headers={"host": host})).status_code == 200


async def test_a_page_from_elsewhere_is_refused(live):
    """Even without a preflight: a plain POST would otherwise load models."""
    headers = {"origin": "https://evil.example"}
    for request in (("POST", "/v1/completions"), ("OPTIONS", "/v1/completions")):
        response = await live.http.request(*request, headers=headers)

        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
    assert not live.engine.prepared


async def test_a_local_page_may_read_replies(live):
    """Its preflight allows any header, and our ids and hints are exposed."""
    headers = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-os",
    }
    preflight = await live.http.options("/v1/chat/completions", headers=headers)
    reply = await live.http.get("/v1/models", headers={"origin": "http://localhost:3000"})

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert preflight.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert "x-request-id" in reply.headers["access-control-expose-headers"]


async def test_configured_origins_and_hosts(fake_engine, tmp_path):
    """The operator may let other pages in, and give the server a name."""
    given = {"cors_origins": ["https://chat.example"], "allowed_hosts": ["models.lan"]}
    async with serving(fake_engine, tmp_path, **given) as live:
        headers = {"origin": "https://chat.example", "host": "models.lan:8080"}
        response = await live.http.get("/livez", headers=headers)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://chat.example"
