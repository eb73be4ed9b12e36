"""Models that other programs have downloaded, served where they lie."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway_process
from gateway_process import Gateway

FIXTURES = Path(__file__).parents[1] / "fixtures"
GGUF = FIXTURES / "llama-q" / "llama-q-Q8_0.gguf"
GEMMA = FIXTURES / "gemma3-q" / "gemma3-q-Q8_0.gguf"
SAFETENSORS = FIXTURES / "llama-plain" / "hf"
COMMIT = "0" * 40
SOURCES = {
    "gemma3:270m": "ollama",
    "org/llama-GGUF:Q8_0": "llamacpp",
    "org/plain": "huggingface",
    "publisher/gemma3:Q8_0": "lmstudio",
}


def lay_out(home: Path) -> None:
    """A small model in each program's default place; the cache is where `start` has it."""
    repo = home / "cache/huggingface/hub/models--org--plain"
    for file in SAFETENSORS.iterdir():
        blob = repo / "blobs" / hashlib.sha256(file.name.encode()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = repo / "snapshots" / COMMIT / file.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../../blobs") / blob.name)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(COMMIT)
    put(GGUF, home / "cache/llama.cpp/org_llama-GGUF_llama-q-Q8_0.gguf")
    (home / "cache/llama.cpp/manifest=org=llama-GGUF=latest.json").write_text("{}")
    put(GEMMA, home / ".lmstudio/models/publisher/gemma3/gemma3-q-Q8_0.gguf")
    store = home / ".ollama/models"
    layers = [("model", GEMMA.read_bytes()), ("params", b'{"num_predict": 3}')]
    manifest = {"layers": [describe(store, kind, content) for kind, content in layers]}
    path = store / "manifests/registry.ollama.ai/library/gemma3/270m"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(manifest))


def put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def describe(store: Path, kind: str, content: bytes) -> dict[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    path = store / "blobs" / f"sha256-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = tmp_path_factory.mktemp("home")
    lay_out(home)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    started = gateway_process.start(home / "none", home / "gateway.log", "--stores", "auto")
    yield started
    started.stop()
    monkeypatch.undo()


def test_each_store_is_served(gateway: Gateway):
    """Under the name that its own program has for it, and with that program as its source."""
    for model_id in SOURCES:
        answer = gateway.sdk.completions.create(model=model_id, prompt="a b c", max_tokens=2)
        assert answer.usage.completion_tokens > 0

    listed = gateway.sdk.models.list().data
    assert {model.id: model.model_extra["source"] for model in listed} == SOURCES


def test_what_ollama_says_of_a_model_holds(gateway: Gateway):
    """Its parameters are for what a request leaves open."""
    answer = gateway.sdk.completions.create(
        model="gemma3:270m", prompt="a b c", extra_body={"ignore_eos": True}
    )

    assert answer.usage.completion_tokens == 3
