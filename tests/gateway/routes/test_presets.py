import pytest

from tests.gateway.live import add_model, serving

CHAT = {"messages": [{"role": "user", "content": "x"}]}
PRESETS = {"terse": {"model": "tiny", "temperature": 0.25, "max_tokens": 2, "system": "Be brief."}}


@pytest.fixture
async def live(fake_engine, tmp_path):
    add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path, presets=PRESETS) as live:
        yield live


async def test_a_preset_answers_with_its_models_weights(live):
    """One load serves both names, and each answers by the one it was asked by."""
    replies = [
        (await live.http.post("/v1/chat/completions", json=CHAT | {"model": model})).json()
        for model in ("tiny", "terse")
    ]

    assert [reply["model"] for reply in replies] == ["tiny", "terse"]
    assert [reply["usage"]["completion_tokens"] for reply in replies] == [4, 2]
    assert len(live.engine.loads) == 1
    messages = live.engine.prepared[-1][1].messages
    assert messages[0] == {"role": "system", "content": "Be brief."}
    (run,) = live.engine.generations[-1][2]
    assert run.generation.sampling.temperature == 0.25


async def test_presets_are_listed(live):
    """Under their own ids, with their model beside, and with its state."""
    await live.http.post("/v1/chat/completions", json=CHAT | {"model": "tiny"})

    models = (await live.http.get("/v1/models")).json()["data"]

    found = [(model["id"], model["root"], model["state"]) for model in models]
    assert found == [("terse", "tiny", "loaded"), ("tiny", "tiny", "loaded")]
    assert (await live.http.get("/v1/models/TERSE")).json()["root"] == "tiny"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("value", ["soon", "5 minutes", True, {}])
async def test_a_keep_alive_that_is_no_duration(live, path, value):
    """400, naming the field; nothing is loaded for it."""
    body = CHAT | {"model": "tiny", "prompt": "x", "keep_alive": value}
    response = await live.http.post(path, json=body)

    assert (response.status_code, response.json()["error"]["param"]) == (400, "keep_alive")
    assert not live.engine.loads
