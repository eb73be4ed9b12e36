"""Models in dtypes of their own beside each other, on a real worker."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from crowd import metric
from gateway_process import ROOT, Gateway, eventually

pytestmark = pytest.mark.slow

SETTINGS = """
[model.exact]
dtype = "float32"
[model.packed]
kv_dtype = "q8_0"
[model.eighth]
kv_dtype = "fp8"
"""
NAMES = ("exact", "short", "packed", "eighth")
"""`short` is what the server computes in: bfloat16."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint under several names."""
    folder = tmp_path_factory.mktemp("models")
    for name in NAMES:
        source = ROOT / "tests/fixtures/llama-plain/llama-plain-F32.gguf"
        shutil.copy(source, folder / f"{name}.gguf")
    return folder


@pytest.fixture(scope="module")
def expected(launch: Callable[..., Gateway], models: Path) -> list[Any]:
    """What a server says that computes all in float32."""
    return said(launch(models, "--memory", "1GiB", "--dtype", "float32"), "exact")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "roundhouse.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def mixed(launch: Callable[..., Gateway], models: Path, config: Path) -> Gateway:
    options = ("--memory", "1GiB", "--dtype", "bfloat16", "--config", str(config))
    return launch(models, *options)


def said(gateway: Gateway, model: str) -> list[Any]:
    """64 greedy tokens, and the log-probabilities of the likeliest at each."""
    completion = gateway.sdk.completions.create(
        model=model,
        prompt=list(range(3, 60)),
        max_tokens=64,
        temperature=0,
        logprobs=5,
        extra_body={"ignore_eos": True},
    )
    (choice,) = completion.choices
    return [choice.text, choice.logprobs.token_logprobs, choice.logprobs.top_logprobs]


def of_all(gateway: Gateway, field: str) -> dict[str, Any]:
    listed = httpx.get(f"{gateway.url}/v1/models").json()["data"]
    return {model["id"]: model[field] for model in listed}


def details(gateway: Gateway, model: str) -> Any:
    return httpx.post(f"{gateway.url}/v1/models/show", json={"model": model}).json()


def test_each_model_is_computed_in_its_own(mixed, expected):
    """In float32 to the bit as on a server of float32; the others near it, and in less memory."""
    found = {name: said(mixed, name) for name in NAMES}

    assert found["exact"] == expected
    texts = [answers[1] for answers in found.values()]
    assert all(texts.count(each) == 1 for each in texts)
    for name in NAMES:
        assert found[name][1][0] == pytest.approx(expected[1][0], abs=0.5)
    assert set(of_all(mixed, "state").values()) == {"loaded"}
    held = of_all(mixed, "memory_bytes")
    assert held["packed"] < held["short"] < held["exact"]
    a_token = {name: details(mixed, name)["kv_bytes_per_token"] for name in NAMES}
    assert a_token["exact"] == 2 * a_token["short"]
    assert a_token["eighth"] < a_token["packed"] < a_token["short"]


def test_another_dtype_holds_while_the_server_runs(mixed, config, expected):
    """What was loaded goes by itself, and comes back as it is said now."""
    assert said(mixed, "short") != expected
    assert said(mixed, "packed") != expected
    config.write_text(SETTINGS + '[model.short]\ndtype = "float32"\npin = true\n')
    mixed.process.send_signal(signal.SIGHUP)
    eventually(lambda: metric(mixed, "roundhouse_evictions_total", reason="expired") == 1)
    assert of_all(mixed, "state")["short"] == "unloaded"

    assert said(mixed, "short") == expected
    assert details(mixed, "short")["dtype"] == "float32"
    assert of_all(mixed, "state") == {
        "exact": "unloaded",
        "short": "loaded",
        "packed": "loaded",
        "eighth": "unloaded",
    }
