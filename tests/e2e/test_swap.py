"""Two real models behind a budget that holds one: the product in one thin slice."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from openai import AsyncOpenAI, BadRequestError

from gateway_process import Gateway

SMOL = "SmolLM2-135M-Instruct-Q4_1"
GEMMA = "gemma-3-270m-Q4_K_M"
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def gateway(launch: Callable[..., Gateway], demo_models: Path) -> Gateway:
    return launch(demo_models, "--memory", "1200MiB")


def chat(gateway: Gateway) -> str:
    stream = gateway.sdk.chat.completions.create(
        model=SMOL,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=24,
        stream=True,
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def complete(gateway: Gateway) -> str:
    stream = gateway.sdk.completions.create(
        model=GEMMA,
        prompt=f"User: {QUESTION}\nAssistant:",
        temperature=0,
        max_tokens=12,
        stream=True,
    )
    return "".join(chunk.choices[0].text for chunk in stream)


def test_two_models_take_turns(gateway):
    """The second model evicts the first, answers, and is evicted in its turn; both make sense."""
    for _ in range(2):
        assert "Paris" in chat(gateway)
        assert (gateway.state(SMOL), gateway.state(GEMMA)) == ("loaded", "unloaded")
        assert "Paris" in complete(gateway)
        assert (gateway.state(SMOL), gateway.state(GEMMA)) == ("unloaded", "loaded")


async def test_concurrent_requests_for_both_all_finish(gateway):
    """Streams of both models asked for at once are all served, none cut."""
    client = AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)

    async def ask(model: str) -> str:
        stream = await client.completions.create(
            model=model, prompt="One, two, three,", max_tokens=16, temperature=0, stream=True
        )
        chunks = [chunk async for chunk in stream]
        assert chunks[-1].choices[0].finish_reason == "length"
        return "".join(chunk.choices[0].text for chunk in chunks)

    texts = await asyncio.gather(*(ask(model) for model in (SMOL, GEMMA, SMOL, GEMMA)))
    await client.close()

    assert texts[0] == texts[2]
    assert texts[1] == texts[3]


def test_a_model_without_a_template_completes_only(gateway):
    """Chat with a base model is a clear 400, and /v1/models says what the model does."""
    with pytest.raises(BadRequestError, match="chat template") as error:
        gateway.sdk.chat.completions.create(
            model=GEMMA, messages=[{"role": "user", "content": "hi"}]
        )
    tasks = {model.id: model.tasks for model in gateway.sdk.models.list()}

    assert error.value.code == "no_chat_template"
    assert tasks[GEMMA] == ["completion"]
    assert "chat" in tasks[SMOL]
