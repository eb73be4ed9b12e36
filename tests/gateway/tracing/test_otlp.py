"""What a real collector, over HTTP and in protobuf, is told of requests."""

import sys
from collections.abc import Iterator

import pytest

from gateway.config import SettingsError, TracesSettings
from gateway.tracing import make_telemetry
from otlp_collector import Collector, collecting, facts_of
from tests.gateway.live import add_model, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHAT = {"model": "two", "messages": [{"role": "user", "content": "my secret"}], "max_tokens": 3}


@pytest.fixture
def collector(monkeypatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=us")
        yield found


async def test_one_trace_from_the_client_through_a_swap(collector, fake_engine, tmp_path):
    """It goes on with the client's trace, tells who was evicted for it, and nothing that was said."""
    for model in ("one", "two"):
        add_model(fake_engine, tmp_path, model, weights_bytes=600)
    pool = {"min_dwell_seconds": 0, "dwell_factor": 0}
    async with serving(fake_engine, tmp_path, pool=pool) as live:
        await live.http.post("/v1/chat/completions", json=CHAT | {"model": "one"})
        headers = {"traceparent": PARENT, "x-request-id": "mine"}
        reply = await live.http.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert reply.status_code == 200

    spans = {s.name: s for s in collector.spans if s.trace_id.hex() == PARENT.split("-")[1]}
    assert set(spans) >= {"chat two", "prepare", "wait_for_model", "load", "prefill", "decode"}
    root = spans["chat two"]
    assert root.parent_span_id.hex() == PARENT.split("-")[2]
    assert {s.parent_span_id for n, s in spans.items() if n in {"prepare", "decode"}} == {
        root.span_id
    }
    assert spans["load"].parent_span_id == spans["wait_for_model"].span_id
    events = [event.name for event in spans["wait_for_model"].events]
    assert events == ["evicting", "evicted", "loading"]
    facts = facts_of(root.attributes)
    assert facts["roundhouse.request_id"] == "mine"
    assert facts["gen_ai.usage.output_tokens"] == 3
    assert facts["gen_ai.response.finish_reasons"] == ["length"]
    assert all(s.start_time_unix_nano <= s.end_time_unix_nano for s in spans.values())
    assert b"my secret" not in b"".join(s.SerializeToString() for s in collector.spans)
    assert collector.resource["service.name"] == "roundhouse"
    assert collector.headers["/v1/traces"]["x-tenant"] == "us"


async def test_measurements(collector, fake_engine, tmp_path):
    """GenAI's, with their units, once for each request that had a model."""
    add_model(fake_engine, tmp_path, "two")
    async with serving(fake_engine, tmp_path) as live:
        await live.http.post("/v1/chat/completions", json=CHAT)
        await live.http.post("/v1/chat/completions", json=CHAT | {"model": "made up"})

    duration = collector.metrics["gen_ai.server.request.duration"]
    (point,) = duration.histogram.data_points
    assert (duration.unit, point.count) == ("s", 1)
    usage = collector.metrics["gen_ai.client.token.usage"]
    kinds = {
        facts_of(p.attributes)["gen_ai.token.type"]: p.sum for p in usage.histogram.data_points
    }
    assert kinds["output"] == 3
    assert "gen_ai.server.time_to_first_token" in collector.metrics


async def test_errors_are_told(collector, fake_engine, tmp_path):
    """By their code; a model that is not there has its trace all the same."""
    add_model(fake_engine, tmp_path, "two")
    async with serving(fake_engine, tmp_path) as live:
        await live.http.post("/v1/chat/completions", json=CHAT | {"model": "made up"})

    (root,) = (span for span in collector.spans if span.name == "chat")
    assert facts_of(root.attributes)["error.type"] == "model_not_found"
    assert root.status.message == "model_not_found"


async def test_who_does_not_want_a_trace_has_none(collector, fake_engine, tmp_path):
    """The client's trace is not sampled, and neither are we."""
    add_model(fake_engine, tmp_path, "two")
    unsampled = {"traceparent": PARENT[:-2] + "00"}
    async with serving(fake_engine, tmp_path) as live:
        await live.http.post("/v1/chat/completions", json=CHAT, headers=unsampled)

    assert not collector.spans


def test_without_the_extra(monkeypatch):
    """Nothing is needed where nothing is sent; else it says what to install."""
    monkeypatch.setitem(sys.modules, "gateway.tracing.telemetry", None)

    assert make_telemetry(TracesSettings(otlp=False)) is None
    with pytest.raises(SettingsError, match=r"roundhouse\[otel\]"):
        make_telemetry(TracesSettings(otlp=True))
