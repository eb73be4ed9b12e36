"""A real gateway in front of another: the way from token to token over two servers."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import pytest
from openai import OpenAI

from gateway_process import Gateway

pytestmark = pytest.mark.slow

MODEL = "llama-plain-F32"
HELLO = [{"role": "user", "content": "the cat sat"}]
FRONT = """
[[upstreams]]
name = "back"
base_url = "{url}/v1"
retries = 0
models = {{ "far/*" = "*" }}
"""


@pytest.fixture(scope="module")
def back(launch: Callable[..., Gateway], tiny_models: Path) -> Gateway:
    return launch(tiny_models, "--dtype", "float32", "--memory", "1GiB")


@pytest.fixture(scope="module")
def front(launch: Callable[..., Gateway], back: Gateway, tmp_path_factory) -> Gateway:
    """It has no model of its own."""
    folder = tmp_path_factory.mktemp("front")
    config = folder / "roundhouse.toml"
    config.write_text(FRONT.format(url=back.url))
    return launch(folder, "--config", str(config), "--memory", "100MiB")


def told(sdk: OpenAI, model: str) -> str:
    stream = sdk.chat.completions.create(
        model=model, messages=HELLO, temperature=0, max_tokens=12, stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_the_same_is_said_through_two_servers(front: Gateway, back: Gateway):
    """Token by token, and with the same numbers."""
    assert told(front.sdk, f"far/{MODEL}") == told(back.sdk, MODEL)


def test_logprobs_are_the_same_through_two_servers(front: Gateway, back: Gateway):
    """Bytes and numbers of tokens too."""

    def asked(sdk: OpenAI, model: str) -> object:
        reply = sdk.completions.create(
            model=model, prompt="the cat", temperature=0, max_tokens=6, logprobs=3, echo=True
        )
        assert reply.choices[0].logprobs
        return reply.choices[0].text, reply.choices[0].logprobs.model_dump(), reply.usage

    assert asked(front.sdk, f"far/{MODEL}") == asked(back.sdk, MODEL)


def test_an_answer_follows_its_schema_there(front: Gateway):
    """What only the other's engine can hold it to."""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    reply = front.sdk.chat.completions.create(
        model=f"far/{MODEL}",
        messages=HELLO,
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    )

    assert json.loads(reply.choices[0].message.content or "")["a"] in {1, 2}


def test_a_server_that_is_killed_in_the_middle(
    front: Gateway, launch: Callable[..., Gateway], tiny_models: Path, tmp_path: Path
):
    """The stream ends in an error, and the next request in another."""
    other = launch(tiny_models, "--dtype", "float32", "--memory", "1GiB")
    config = tmp_path / "roundhouse.toml"
    config.write_text(FRONT.format(url=other.url))
    gateway = launch(tmp_path, "--config", str(config), "--memory", "100MiB")
    stream = gateway.sdk.chat.completions.create(
        model=f"far/{MODEL}",
        messages=HELLO,
        max_tokens=2000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    assert next(iter(stream)).choices
    other.process.kill()
    with pytest.raises(openai.APIError) as cut:
        list(stream)
    with pytest.raises(openai.InternalServerError) as down:
        told(gateway.sdk, f"far/{MODEL}")

    assert "broke the connection off" in str(cut.value)
    assert down.value.code == "upstream_failed"


def test_they_are_listed(front: Gateway):
    """As models of the other server."""
    models = {m["id"]: m for m in httpx.get(f"{front.url}/v1/models").json()["data"]}

    assert models[f"far/{MODEL}"]["state"] == "remote"
    assert models[f"far/{MODEL}"]["owned_by"] == "back"
