"""Keys before a real server with a real model: the command line beside it, and its prefix cache."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from gateway_process import ROOT, eventually

pytestmark = pytest.mark.slow


def key(config: Path, *words: str) -> str:
    command = [sys.executable, "-m", "gateway", "key", *words, "--config", str(config)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "roundhouse.toml"
    path.write_text(f'[keys]\nanonymous = []\npath = "{tmp_path}/keys.sqlite"\n')
    return path


def test_keys_come_and_go_and_share_no_prefix(launch, tiny_models, config):
    """Made while it runs, refused once revoked; what one has asked the other cannot tell."""
    served = launch(tiny_models, "--config", str(config), "--memory", "1GiB")
    keys = {
        name: json.loads(key(config, "create", "--name", name, "--json"))["key"] for name in "ab"
    }
    body = {
        "model": "llama-plain-F32",
        "prompt": "Once upon a time " * 8,
        "max_tokens": 1,
        "temperature": 0,
    }

    def ask(name: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {keys[name]}"}
        return httpx.post(f"{served.url}/v1/completions", json=body, headers=headers, timeout=60)

    def cached(name: str) -> int:
        details = ask(name).raise_for_status().json()["usage"]["prompt_tokens_details"]
        return details["cached_tokens"]

    eventually(lambda: ask("a").status_code == 200)
    assert cached("a") > 0
    assert cached("b") == 0
    assert cached("b") > 0
    assert httpx.get(f"{served.url}/v1/models").status_code == 401

    key(config, "revoke", "a")
    eventually(lambda: ask("a").status_code == 401, seconds=1)
    assert ask("b").status_code == 200
