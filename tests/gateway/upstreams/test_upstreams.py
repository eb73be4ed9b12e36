"""The client and what becomes of its failures, against servers that respx plays."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import respx
import structlog
from prometheus_client import CollectorRegistry

from engine.api import Delta, Generation, TextPrompt
from gateway import errors
from gateway.config import SettingsError, UpstreamSettings
from gateway.journey import Arrival, arrive
from gateway.translate.job import Job
from gateway.upstreams import Upstreams
from gateway.upstreams.breaker import MAX_FAILURES

JOB = Job((TextPrompt("once"),), Generation(0), "prompt", stream=True)
FIRST, SECOND = "http://first.test/v1/completions", "http://second.test/v1/completions"
SSE = {"content-type": "text/event-stream"}


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"


def stream(*pieces: bytes) -> httpx.Response:
    return httpx.Response(200, headers=SSE, content=b"".join(pieces))


WHOLE = stream(b": hello\n\n", chunk("a"), chunk("b", "stop"), b"data: [DONE]\n\n")


class Clock:
    """Time that stands still but for pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


Make = Callable[..., Upstreams]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def make(clock: Clock, registry: CollectorRegistry) -> AsyncIterator[Make]:
    """Makes upstreams: one of the name "first" with the settings, or one for each table of them."""
    made: list[Upstreams] = []

    def make(*tables: dict[str, Any], **fields: Any) -> Upstreams:
        names = ("first", "second")
        settings = [
            UpstreamSettings(
                **{"name": name, "base_url": f"http://{name}.test/v1", "models": ["m"], **table}
            )
            for name, table in zip(names, tables or (fields,), strict=False)
        ]
        made.append(Upstreams(settings, registry, clock, lambda: 1.0, clock.pause))
        return made[-1]

    yield make
    for upstreams in made:
        await upstreams.close()


async def told(upstreams: Upstreams, name: str = "m") -> str:
    model = upstreams.find(name)
    assert model is not None
    deltas: list[Delta] = [delta async for delta in upstreams.generate(model, JOB)]
    assert deltas[-1].finish_reason == "stop"
    return "".join(delta.text for delta in deltas)


@respx.mock
async def test_what_a_request_looks_like(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Its key, its id and its model's own name; and it wants nothing packed."""
    monkeypatch.setenv("FIRST_KEY", "secret")
    route = respx.post(FIRST).mock(return_value=WHOLE)
    upstreams = make(key_env="FIRST_KEY", models={"ours": "org/theirs"})
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        assert await told(upstreams, "OURS") == "ab"
    sent = route.calls.last.request

    assert sent.headers["authorization"] == "Bearer secret"
    assert sent.headers["x-request-id"] == "req_1"
    assert sent.headers["accept-encoding"] == "identity"
    assert msgspec.json.decode(sent.content)["model"] == "org/theirs"


@respx.mock
async def test_it_belongs_to_the_trace_that_asked(make: Make):
    """What the other server does is a part of what we do."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    route = respx.post(FIRST).mock(return_value=WHOLE)
    arrive(Arrival(1.0, parent, "a=b"))

    await told(make(models={"ours": "org/theirs"}), "ours")

    sent = route.calls.last.request.headers
    assert (sent["traceparent"], sent["tracestate"]) == (parent, "a=b")


@respx.mock
async def test_a_key_in_a_file_may_change(make: Make, tmp_path: Path):
    """It is read at each request, as those of a Kubernetes secret have to be."""
    path = tmp_path / "key"
    path.write_text("old\n")
    route = respx.post(FIRST).mock(return_value=WHOLE)
    upstreams = make(key_file=path)
    path.write_text("new\n")
    await told(upstreams)

    assert route.calls.last.request.headers["authorization"] == "Bearer new"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"base_url": "ftp://host/v1"}, "http"),
        ({"base_url": "https://me:key@host/v1"}, "password"),
        ({"base_url": "https://host/v1?key=x"}, r"\?"),
        ({"key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"key_file": Path("/nowhere/key")}, "key_file: /nowhere/key"),
        ({"base_url": "https://host/v1", "ca_file": Path("/nowhere/ca")}, "ca_file: /nowhere/ca"),
    ],
)
def test_settings_that_cannot_be_used(fields: dict[str, Any], reason: str):
    """They are refused at the start, by their path."""
    settings = UpstreamSettings(**{"name": "x", "base_url": "https://host/v1", **fields})
    with pytest.raises(SettingsError, match=reason):
        Upstreams([settings], CollectorRegistry())


@respx.mock
async def test_failures_before_the_first_token_are_hidden(make: Make, clock: Clock):
    """Whatever may pass is tried again after a pause, each time a longer one."""
    cut = stream(b": hello\n\n")
    failures = [httpx.ConnectError("no"), httpx.Response(503), cut]
    route = respx.post(FIRST).mock(side_effect=[*failures, WHOLE])

    assert await told(make(retries=3, rest_seconds=0.001)) == "ab"
    assert route.call_count == 4
    assert clock.pauses == [0.25, 0.5, 1.0]


@respx.mock
async def test_the_next_in_the_file_is_asked(make: Make):
    """Where the first has failed as often as it may."""
    first = respx.post(FIRST).mock(return_value=httpx.Response(500))
    second = respx.post(SECOND).mock(return_value=WHOLE)

    assert await told(make({"retries": 1}, {})) == "ab"
    assert (first.call_count, second.call_count) == (2, 1)


@respx.mock
async def test_a_name_with_its_upstream_means_no_other(make: Make):
    """So that each can be asked, though they have a model in common."""
    first = respx.post(FIRST).mock(return_value=WHOLE)
    second = respx.post(SECOND).mock(return_value=WHOLE)
    await told(make({}, {}), "second/m")

    assert (first.call_count, second.call_count) == (0, 1)


@respx.mock
async def test_nothing_is_tried_again_once_something_is_told(make: Make):
    """A stream that breaks in its middle ends in an error: a second would say it all again."""
    first = respx.post(FIRST).mock(return_value=stream(chunk("a")))
    upstreams, said = make({}, {}), []
    model = upstreams.find("m")
    assert model
    with pytest.raises(errors.UpstreamFailed, match="too early"):
        said.extend([delta.text async for delta in _kept(upstreams.generate(model, JOB), said)])

    assert said == ["a"]
    assert first.call_count == 1


async def _kept(deltas: AsyncIterator[Delta], said: list[str]) -> AsyncIterator[Delta]:
    async for delta in deltas:
        said.append(delta.text)
        yield delta


ENVELOPE = {"error": {"message": "m is odd", "type": "odd", "param": "p", "code": "c"}}


@pytest.mark.parametrize(
    ("answer", "kind", "status", "message"),
    [
        (httpx.Response(401, json=ENVELOPE), errors.UpstreamKeyRefused, 502, "this server's key"),
        (httpx.Response(403, json=ENVELOPE), errors.UpstreamKeyRefused, 502, "this server's key"),
        (httpx.Response(404, json=ENVELOPE), errors.UpstreamFailed, 502, "answered 404: m is odd"),
        (httpx.Response(500, text="<html>"), errors.UpstreamFailed, 502, "answered 500."),
        (httpx.Response(302, headers={"location": FIRST}), errors.UpstreamFailed, 502, "302"),
        (httpx.Response(200, json={}), errors.UpstreamFailed, 502, "does not stream"),
        (httpx.ConnectError("no"), errors.UpstreamFailed, 502, "cannot be reached"),
        (httpx.ReadError("no"), errors.UpstreamFailed, 502, "broke the connection off"),
        (httpx.ReadTimeout("no"), errors.UpstreamTimeout, 504, "silent"),
        (httpx.PoolTimeout("no"), errors.UpstreamBusy, 429, "in use"),
        (
            httpx.Response(200, headers=SSE | {"content-encoding": "br"}, content=b"x"),
            errors.UpstreamFailed,
            502,
            "packed",
        ),
    ],
)
@respx.mock
async def test_failures_in_our_words(
    make: Make, answer: Any, kind: type, status: int, message: str
):
    """A key of ours that is refused is never the client's fault, and no redirect is followed."""
    mock = {"side_effect": answer} if isinstance(answer, Exception) else {"return_value": answer}
    respx.post(FIRST).mock(**mock)
    with pytest.raises(kind, match=message) as failure:
        await told(make(retries=0))

    assert errors.problem_of(failure.value).status == status


@respx.mock
async def test_what_is_wrong_with_a_request_is_said_as_it_is(make: Make):
    """Nobody else is asked, and the server is well for it."""
    respx.post(FIRST).mock(return_value=httpx.Response(400, json=ENVELOPE))
    second = respx.post(SECOND).mock(return_value=WHOLE)
    upstreams = make({}, {})
    for _ in range(MAX_FAILURES + 1):
        with pytest.raises(errors.UpstreamRefused) as failure:
            await told(upstreams)
    problem = errors.problem_of(failure.value)

    assert problem.status == 400
    assert msgspec.to_builtins(problem.reply) == ENVELOPE
    assert not second.called


@respx.mock
async def test_a_busy_server_is_left_alone(make: Make, clock: Clock):
    """For as long as it says, and its word is passed on where nobody else is there."""
    busy = httpx.Response(429, headers={"retry-after": "20"}, json=ENVELOPE)
    route = respx.post(FIRST).mock(side_effect=[busy, WHOLE])
    upstreams = make()
    with pytest.raises(errors.UpstreamBusy) as failure:
        await told(upstreams)
    assert failure.value.retry_after_seconds == 20
    with pytest.raises(errors.UpstreamUnavailable) as failure:
        await told(upstreams)
    assert failure.value.retry_after_seconds == 20
    assert route.call_count == 1

    clock.now += 20
    assert await told(upstreams) == "ab"


@respx.mock
async def test_a_server_that_fails_rests_and_is_counted(
    make: Make, clock: Clock, registry: CollectorRegistry
):
    """Then one request finds out, and all are answered again."""
    down = httpx.Response(500)
    respx.post(FIRST).mock(side_effect=[down] * MAX_FAILURES + [WHOLE] * 2)
    upstreams = make(retries=0, rest_seconds=5)
    labels = {"upstream": "first", "model": "m"}
    for _ in range(MAX_FAILURES):
        with pytest.raises(errors.UpstreamFailed):
            await told(upstreams)
    assert registry.get_sample_value("roundhouse_upstream_resting", labels) == 1
    with pytest.raises(errors.UpstreamUnavailable):
        await told(upstreams)

    clock.now += 5
    assert await told(upstreams) + await told(upstreams) == "abab"
    count = "roundhouse_upstream_attempts_total"
    assert registry.get_sample_value(count, labels | {"outcome": "failed"}) == MAX_FAILURES
    assert registry.get_sample_value(count, labels | {"outcome": "answered"}) == 2
    assert registry.get_sample_value("roundhouse_upstream_resting", labels) == 0


@respx.mock
async def test_a_reply_is_bounded(make: Make):
    """However much a server sends, no more is kept of it."""
    flood = stream(b"data: " + b"x" * 100_000)
    respx.post(FIRST).mock(return_value=flood)
    with pytest.raises(errors.UpstreamFailed, match="more than 50000 bytes"):
        await told(make(retries=0, reply_bytes=50_000))


@respx.mock
async def test_silence_is_bounded(make: Make):
    """Between one sign of life and the next; the time that a client takes does not count."""

    async def silent() -> AsyncIterator[bytes]:
        yield chunk("a")
        await asyncio.Event().wait()

    respx.post(FIRST).mock(return_value=httpx.Response(200, headers=SSE, content=silent()))
    with pytest.raises(errors.UpstreamTimeout):
        await told(make(stall_seconds=0.01))


@respx.mock
async def test_an_echoed_key_is_not_passed_on(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Some servers say what they refuse."""
    monkeypatch.setenv("FIRST_KEY", "sk-secret")
    body = {"error": {"message": "bad sk-secret", "type": "x"}}
    respx.post(FIRST).mock(return_value=httpx.Response(400, json=body))
    with pytest.raises(errors.UpstreamRefused) as failure:
        await told(make(key_env="FIRST_KEY"))

    assert failure.value.message == "bad ***"


@respx.mock
async def test_models_are_discovered(make: Make, clock: Clock):
    """What the list says, under our names for it; a list that fails takes nothing away."""
    listed = {"data": [{"id": "a", "max_model_len": 77, "tasks": ["embedding"]}, {"id": "b"}]}
    answers = [httpx.Response(200, json=listed), httpx.Response(500)]
    respx.get("http://first.test/v1/models").mock(side_effect=answers)
    upstreams = make(models={"far/*": "*", "ours": "b"})
    assert await upstreams.discover("far/nothing") is None
    clock.now += 60
    await upstreams.discover("far/nothing")
    found = {model.id: model for model in upstreams.models}

    assert set(found) == {"far/a", "ours"}
    assert found["far/a"].card.context_length == 77
    assert found["far/a"].card.tasks == ("embedding",)
    assert found["ours"].upstream == "first"
