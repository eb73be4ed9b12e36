import pytest
from structlog.testing import capture_logs

from tests.gateway.live import add_model, serving

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "secret " * 100}]}


@pytest.mark.parametrize(
    ("settings", "expected"), [({}, []), ({"prompts": True, "prompt_chars": 40}, [40])]
)
async def test_prompts_are_logged_only_where_that_is_wanted(
    fake_engine, tmp_path, settings, expected
):
    """And no more of them than was said."""
    add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path, log=settings) as live:
        with capture_logs() as lines:
            await live.http.post("/v1/chat/completions", json=CHAT)

    assert [len(line["text"]) for line in lines if line["event"] == "prompt"] == expected
    said = [line for line in lines if line["event"] != "prompt"]
    assert "secret" not in str(said)


async def test_a_slow_request_says_where_its_time_went(fake_engine, tmp_path):
    """With the id that its client knows it by."""
    add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path, log={"slow_seconds": 0.000001}) as live:
        with capture_logs() as lines:
            await live.http.post("/v1/chat/completions", json=CHAT)

    (line,) = (line for line in lines if line["event"] == "slow_request")
    parts = ("prepare", "queue", "load", "prefill", "decode")
    assert all(line[f"{part}_seconds"] >= 0 for part in parts)
    assert line["loads"] == 1
