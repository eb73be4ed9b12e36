from datetime import UTC, datetime, timedelta

from gateway.translate.ollama import parameter_size
from tests.gateway.live import Live


async def load(live: Live, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    assert (await live.http.post("/v1/chat/completions", json=body)).status_code == 200


async def test_tags(live):
    """Every model, with what Ollama's clients print of it; a digest is as long as a hash."""
    models = (await live.http.get("/api/tags")).json()["models"]

    assert [model["model"] for model in models] == ["base", "org/tiny", "other"]
    assert models[1]["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "1.00M",
        "quantization_level": "Q4_K",
    }
    assert datetime.fromisoformat(models[1]["modified_at"]) <= datetime.now(UTC)


async def test_ps(live):
    """What is in memory; what nothing unloads expires in decades, which clients call for ever."""
    assert (await live.http.get("/api/ps")).json() == {"models": []}
    await load(live, "org/tiny")

    (model,) = (await live.http.get("/api/ps")).json()["models"]

    assert (model["name"], model["size"], model["size_vram"]) == ("org/tiny", 400, 0)
    assert model["context_length"] == 2048
    expires = datetime.fromisoformat(model["expires_at"])
    assert expires - datetime.now(UTC) > timedelta(days=20 * 365)


async def test_ps_counts_no_further_than_clocks_do(live):
    """A model may be kept for longer than there will be dates."""
    body = {"model": "org/tiny", "prompt": "", "keep_alive": 1e16, "stream": False}
    assert (await live.http.post("/api/generate", json=body)).status_code == 200

    (model,) = (await live.http.get("/api/ps")).json()["models"]

    assert datetime.fromisoformat(model["expires_at"]) > datetime.now(UTC)


async def test_version(live):
    """Numbers with dots between, which clients compare."""
    version = (await live.http.get("/api/version")).json()["version"]

    assert len([int(part) for part in version.split(".")]) == 3


def test_parameter_sizes():
    """Rounded as Ollama rounds."""
    sizes = [parameter_size(n) for n in (8_030_261_248, 134_515_008, 12_000)]

    assert sizes == ["8.0B", "134.52M", "12.00K"]
