"""Several devices of different size, faked on one CPU: a worker for each, and real models on both."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from crowd import logged
from gateway_process import Gateway, eventually

MODELS = ("llama-plain-F32", "gemma3-q-Q4_K_M", "tiny/gemma3-swa")
"""They take 54 to 67 MiB each."""


@pytest.fixture(scope="module")
def gateway(
    launch: Callable[..., Gateway], tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """A device that holds two of the models, and one that holds one. One model is there already."""
    config = tmp_path_factory.mktemp("devices") / "roundhouse.toml"
    config.write_text(f'[model."{MODELS[1]}"]\npreload = true\n')
    devices = ("--device", "cpu:140MiB", "--device", "cpu:72MiB")
    options = ("--config", str(config), "--threads", "1", "--dtype", "float32")
    gateway = launch(tiny_models, *devices, *options)
    eventually(lambda: bool(logged(gateway, "model_loaded")))
    return gateway


def test_a_model_is_loaded_before_anybody_asks(gateway):
    """With `preload` it is there after the start, alone, for the first request to find."""
    first, *_ = logged(gateway, "model_loading")

    assert first["model"].startswith(MODELS[1])
    assert residents(gateway)[MODELS[1]] is not None


def complete(gateway: Gateway, model: str) -> str:
    reply = gateway.sdk.completions.create(
        model=model, prompt="one two three", max_tokens=8, temperature=0
    )
    return reply.choices[0].text


def residents(gateway: Gateway) -> dict[str, str | None]:
    models = httpx.get(f"{gateway.url}/v1/models").json()["data"]
    return {model["id"]: model["device"] for model in models if model["id"] in MODELS}


def test_models_go_where_there_is_room(gateway):
    """Three models asked for at once are spread over both workers, and nothing is evicted."""
    with ThreadPoolExecutor(len(MODELS)) as clients:
        texts = list(clients.map(lambda model: complete(gateway, model), MODELS))

    assert sorted(residents(gateway).values()) == ["cpu:0", "cpu:0", "cpu:1"]
    assert texts == [complete(gateway, model) for model in MODELS]
    assert "model_evicting" not in gateway.log.read_text()


def test_each_worker_is_told_of_its_own_device(gateway):
    """A process for each device, with its share of the memory and the threads it was given."""
    commands = [child.cmdline() for child in gateway.children("engine.worker")]

    told = sorted((c[c.index("--device") + 1], c[c.index("--memory") + 1]) for c in commands)
    assert told == [("cpu:0", str(140 * 2**20)), ("cpu:1", str(72 * 2**20))]
    assert all(c[c.index("--threads") + 1] == "1" for c in commands)
