"""Processes that die, clients that leave: streams end clearly and the next request works."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from openai import APIError

from gateway_process import Gateway, eventually

MODEL = "llama-plain-F32"
LONG = {"model": MODEL, "prompt": "once", "max_tokens": 1900, "temperature": 0}


def stream(gateway: Gateway) -> Iterator[str]:
    body = {"ignore_eos": True}
    with gateway.sdk.completions.create(**LONG, stream=True, extra_body=body) as chunks:
        for chunk in chunks:
            yield chunk.choices[0].text


def works(gateway: Gateway) -> bool:
    sdk = gateway.sdk.with_options(max_retries=4)
    answer = sdk.completions.create(
        model=MODEL, prompt="once", max_tokens=4, extra_body={"ignore_eos": True}
    )
    return answer.usage.completion_tokens == 4


@pytest.mark.parametrize("module", ["engine.worker", "engine.text"])
def test_a_killed_process_ends_its_streams_with_an_error(tiny, module):
    """A stream whose process dies ends with an error event; the next request works."""
    chunks = stream(tiny)
    next(chunks)
    os.kill(tiny.child(module).pid, signal.SIGKILL)

    with pytest.raises(APIError):
        for _ in chunks:
            pass
    assert works(tiny)


def test_a_client_that_leaves_stops_its_generation(tiny):
    """Closing the connection gives the model back within a step or two."""
    with httpx.stream(
        "POST", f"{tiny.url}/v1/completions", json={**LONG, "stream": True, "ignore_eos": True}
    ) as response:
        lines = response.iter_lines()  # kept, because dropping it would close the connection
        next(lines)
        assert leases(tiny) == 1
    eventually(lambda: leases(tiny) == 0)

    assert works(tiny)


def leases(gateway: Gateway) -> int:
    return httpx.get(f"{gateway.url}/v1/models/{MODEL}").json()["leases"]


def test_a_killed_gateway_leaves_nothing_behind(launch: Callable[..., Gateway], tiny_models: Path):
    """A gateway killed outright takes every process of ours with it, even mid-stream."""
    gateway = launch(tiny_models)
    chunks = stream(gateway)
    next(chunks)
    family = psutil.Process(gateway.process.pid).children(recursive=True)
    assert len(family) >= 2
    gateway.process.kill()
    gateway.process.wait()

    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_sigterm_finishes_streams_first(launch: Callable[..., Gateway], tiny_models: Path):
    """A gateway asked to stop lets a running stream finish, then ends with status 0."""
    gateway = launch(tiny_models)
    chunks = stream(gateway)
    next(chunks)
    gateway.process.terminate()

    assert len(list(chunks)) > 1000
    assert gateway.process.wait(30) == 0


def test_the_error_event_has_the_envelope(tiny):
    """In-stream errors are OpenAI's shape and are not followed by [DONE]."""
    body = {**LONG, "stream": True, "ignore_eos": True}
    with httpx.stream("POST", f"{tiny.url}/v1/completions", json=body, timeout=30) as response:
        lines = response.iter_lines()
        next(lines)
        os.kill(tiny.child("engine.worker").pid, signal.SIGKILL)
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    assert "[DONE]" not in data
    assert set(json.loads(data[-1])["error"]) == {"message", "type", "param", "code"}
    assert works(tiny)
