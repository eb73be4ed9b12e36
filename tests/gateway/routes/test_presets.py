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


async def test_a_model_and_all_models_have_defaults_too(fake_engine, tmp_path):
    """The request's word counts first, then its preset's, its model's, and that of all models."""
    add_model(fake_engine, tmp_path, "tiny")
    settings = {
        "presets": {"terse": {"model": "tiny", "temperature": 0.1}},
        "model": {"tiny": {"temperature": 0.2, "top_p": 0.2}},
        "defaults": {"top_p": 0.3, "min_p": 0.3},
    }
    async with serving(fake_engine, tmp_path, **settings) as live:
        for model in ("tiny", "terse"):
            await live.http.post("/v1/chat/completions", json=CHAT | {"model": model, "seed": 1})
            (run,) = live.engine.generations[-1][2]
            sampling = run.generation.sampling
            expected = 0.2 if model == "tiny" else 0.1
            assert (sampling.temperature, sampling.top_p, sampling.min_p) == (expected, 0.2, 0.3)


async def test_a_context_is_a_models_or_a_presets(fake_engine, tmp_path):
    """A model's is instead of that of all; a preset may promise less than its model, never more."""
    for name in ("tiny", "other"):
        add_model(fake_engine, tmp_path, name)
    settings = {
        "max_context": 64,
        "model": {"tiny": {"context": 512}},
        "presets": {
            "short": {"model": "tiny", "context": 32},
            "long": {"model": "other", "context": 99},
        },
    }
    async with serving(fake_engine, tmp_path, **settings) as live:
        listed = (await live.http.get("/v1/models")).json()["data"]
        body = CHAT | {"model": "short", "max_tokens": 100}
        refused = await live.http.post("/v1/chat/completions", json=body)

    shown = {model["id"]: model["max_model_len"] for model in listed}
    assert shown == {"tiny": 512, "other": 64, "short": 32, "long": 64}
    assert refused.json()["error"]["code"] == "context_length_exceeded"
