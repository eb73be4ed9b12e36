"""Two gateways with one models folder and one cache of images, which has room for one image."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from crowd import collect
from gateway_process import Gateway, eventually

MODELS = ("qwen3-dense", "gemma3-q-Q4_K_M")
ROUNDS = 4


@pytest.fixture
def pair(launch: Callable[..., Gateway], tmp_path: Path) -> list[Gateway]:
    folder = collect(tmp_path / "models", ["qwen3-dense/hf", "gemma3-q/gemma3-q-Q4_K_M.gguf"])
    config = tmp_path / "roundhouse.toml"
    config.write_text(
        'memory = "1GiB"\nwarm_memory = 0\nimage_cache_bytes = "1MiB"\nmax_context = 512'
    )
    options = ("--config", str(config), "--image-cache", str(tmp_path / "images"))
    return [launch(folder, *options) for _ in range(2)]


async def answer(http: httpx.AsyncClient, gateway: Gateway, model: str) -> str:
    body = {"model": model, "prompt": "One two three", "max_tokens": 8, "temperature": 0}
    reply = await http.post(f"{gateway.url}/v1/completions", json=body)
    reply.raise_for_status()
    text: str = reply.json()["choices"][0]["text"]
    return text


async def forget(http: httpx.AsyncClient, gateway: Gateway, model: str) -> None:
    await http.post(f"{gateway.url}/v1/models/unload", json={"model": model})
    await asyncio.to_thread(eventually, lambda: gateway.state(model) == "unloaded")


@pytest.mark.slow
async def test_each_builds_and_evicts_under_the_other(pair):
    """Both build the same image at once, and drop the other's; every answer is the same all the while."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        said: dict[str, set[str]] = {model: set() for model in MODELS}
        for _ in range(ROUNDS):
            for model in MODELS:
                said[model].update(await asyncio.gather(*(answer(http, g, model) for g in pair)))
                await asyncio.gather(*(forget(http, g, model) for g in pair))

    assert all(len(answers) == 1 for answers in said.values()), said
