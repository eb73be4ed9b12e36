import openai
import pytest

from tests.gateway.live import add_model, serving


async def test_the_list(live):
    """Good models in order of their ids, with what clients of local servers look for."""
    async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
        models = [model async for model in await client.models.list()]

    assert [model.id for model in models] == ["base", "org/tiny", "other"]
    tiny = models[1]
    assert (tiny.object, tiny.owned_by, tiny.state) == ("model", "org", "unloaded")
    assert tiny.status == {"value": "unloaded"}
    assert (tiny.family, tiny.format, tiny.quantization) == ("llama", "gguf", "Q4_K")
    assert (tiny.parameters, tiny.bytes) == (1_000_000, 400)
    assert tiny.context_length == tiny.max_model_len == 2048
    assert models[0].tasks == ["completion"]


async def test_the_list_is_at_the_root_too(live):
    """Open WebUI asks for it there."""
    assert (await live.http.get("/models")).json() == (await live.http.get("/v1/models")).json()


@pytest.mark.parametrize("name", ["org/tiny", "org%2Ftiny", "ORG%2FTINY", "tiny", "org/tiny.gguf"])
async def test_one_model_by_any_of_its_names(live, name):
    """Slashes raw or encoded, any case, and a last component that is unique."""
    response = await live.http.get(f"/v1/models/{name}")

    assert response.status_code == 200
    assert response.json()["id"] == "org/tiny"


@pytest.mark.parametrize(("name", "status"), [("nothing", 404), ("broken", 503)])
async def test_a_model_that_is_not_there(live, name, status):
    """Unknown is 404; a broken file says what is wrong with it."""
    assert (await live.http.get(f"/v1/models/{name}")).status_code == status


async def test_the_state_follows_the_pool(live):
    """A request loads its model and evicts another; the list shows both."""
    for model in ("org/tiny", "other"):
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        assert (await live.http.post("/v1/chat/completions", json=body)).status_code == 200

    models = (await live.http.get("/v1/models")).json()["data"]
    states = {model["id"]: model["state"] for model in models}
    assert states == {"base": "unloaded", "org/tiny": "loaded", "other": "loaded"}


async def test_a_new_file_is_found(live, tmp_path):
    """A file dropped into the folder is served without a restart."""
    add_model(live.engine, tmp_path, "late")

    assert (await live.http.get("/v1/models/late")).status_code == 200


async def test_aliases_templates_and_a_bounded_context(fake_engine, tmp_path):
    """What the operator configures shows: other names, chat for a model without a template."""
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    add_model(fake_engine, tmp_path, "base", tasks=("completion",))
    settings = {
        "aliases": {"gpt-4o": "base"},
        "chat_templates": {"base": str(template)},
        "max_context": 512,
    }
    async with serving(fake_engine, tmp_path, **settings) as live:
        model = (await live.http.get("/v1/models/gpt-4o")).json()
        body = {"model": "GPT-4o", "messages": [{"role": "user", "content": "x"}]}
        reply = await live.http.post("/v1/chat/completions", json=body)

    assert (model["id"], model["aliases"]) == ("base", ["gpt-4o"])
    assert (model["tasks"], model["context_length"]) == (["chat", "completion"], 512)
    assert reply.status_code == 200
    assert fake_engine.prepared[0][0].chat_template == "{{ messages }}"
