"""From an empty folder to an answer: a model of a hub on loopback, real workers, a real chat."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from gateway_process import Gateway, eventually, start
from hub_server import Held, HubServer

FIXTURE = Path(__file__).parents[1] / "fixtures/llama-bf16/hf"
MODEL = "org/tiny"
CHAT = [{"role": "user", "content": "hi"}]

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        server.add(MODEL, {path.name: path.read_bytes() for path in FIXTURE.iterdir()})
        yield server


@pytest.fixture
def gateway(hub: HubServer, tmp_path: Path) -> Iterator[Gateway]:
    config = tmp_path / "roundhouse.toml"
    config.write_text(
        f'memory = "200MiB"\n[hub]\nendpoint = "{hub.url}"\nallow = ["org/*"]\npull_on_demand = true\n'
    )
    models = tmp_path / "models"
    models.mkdir()
    made = start(models, tmp_path / "log", "--config", str(config))
    yield made
    made.stop()


def test_a_chat_brings_its_model_and_is_answered(gateway, hub):
    """Then it is listed, may be removed, and is brought again by the next."""
    for _ in range(2):
        answer = gateway.sdk.chat.completions.create(model=MODEL, messages=CHAT, max_tokens=4)
        assert answer.usage.completion_tokens == 4
        assert [model.id for model in gateway.sdk.models.list()] == [MODEL]
        assert gateway.sdk.models.delete(MODEL).deleted
        assert [*gateway.sdk.models.list()] == []


def test_a_pull_dies_with_its_gateway(gateway, hub, tmp_path):
    """However that ends; the next gateway goes on from what came."""
    hub.faults.append(held := Held("model.safetensors", after=100_000))
    assert httpx.post(f"{gateway.url}/models", json={"model": MODEL}).status_code == 200
    assert held.reached.wait(20)
    (child,) = gateway.children("gateway.hub.child")

    gateway.process.kill()
    gateway.process.wait()

    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    held.go.set()
    config = tmp_path / "roundhouse.toml"
    again = start(tmp_path / "models", tmp_path / "log2", "--config", str(config))
    try:
        answer = again.sdk.chat.completions.create(model=MODEL, messages=CHAT, max_tokens=4)
    finally:
        again.stop()
    assert answer.usage.completion_tokens == 4
    assert any(headers.get("range") for _, _, headers in hub.asked)
