"""A model on two devices together, through the gateway: the same text, swaps, and losing a device."""

import os
import shutil
import signal
from collections.abc import Callable

import pytest
from openai import APIError

from gateway_process import ROOT, Gateway

SPREAD, ALONE, OTHER = "llama-plain-F32", "llama-alone", "gemma3-swa"
FIXTURES = ROOT / "tests/fixtures"
CONFIG = f"""
devices = ["cpu:100MiB", "cpu:100MiB"]
tensor_parallel = [["cpu:0", "cpu:1"]]
threads = 1
dtype = "float32"

[model."{SPREAD}"]
tensor_parallel = 2
"""


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Gateway], tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    """Two devices, each with room for one model or one part at a time."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(FIXTURES / f"llama-plain/{SPREAD}.gguf", folder)
    shutil.copy(FIXTURES / f"llama-plain/{SPREAD}.gguf", folder / f"{ALONE}.gguf")
    shutil.copytree(FIXTURES / "gemma3-swa/hf", folder / OTHER)
    config = tmp_path_factory.mktemp("config") / "roundhouse.toml"
    config.write_text(CONFIG)
    return launch(folder, "--config", str(config))


def complete(gateway: Gateway, model: str, max_tokens: int = 24) -> str:
    reply = gateway.sdk.with_options(max_retries=4).completions.create(
        model=model, prompt="once upon a time", max_tokens=max_tokens, temperature=0
    )
    return reply.choices[0].text


def test_two_devices_say_what_one_does(gateway):
    """The same weights, once on both together and once on one of them."""
    together, alone = complete(gateway, SPREAD), complete(gateway, ALONE)

    assert len(together) > 0
    assert together == alone


def test_it_swaps_like_any_other(gateway):
    """It makes room on its devices, and others make room on both for it."""
    expected = complete(gateway, SPREAD)
    for model in (OTHER, ALONE, OTHER):
        complete(gateway, model)
        assert complete(gateway, SPREAD) == expected


def test_a_lost_device_ends_its_stream_and_no_more(gateway):
    """The device that follows dies in the middle: an error, and the next request is answered."""
    expected = complete(gateway, SPREAD)
    follower = next(c for c in gateway.children("engine.worker") if "cpu:1" in c.cmdline())
    stream = gateway.sdk.completions.create(
        model=SPREAD,
        prompt="once",
        max_tokens=1900,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    os.kill(follower.pid, signal.SIGKILL)
    with pytest.raises(APIError):
        for _ in stream:
            pass

    assert complete(gateway, SPREAD) == expected
