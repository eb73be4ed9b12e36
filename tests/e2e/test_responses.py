"""The Responses API with real models, through the clients that speak it."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import openai
import pytest
from pydantic import BaseModel

from gateway_process import Gateway

MODEL = "gemma3-q-Q4_K_M"
CHAT_MODEL = "SmolLM2-135M-Instruct-Q4_1"
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def demo(launch: Callable[..., Gateway], demo_models: Path) -> Gateway:
    return launch(demo_models, "--memory", "2GiB")


def test_a_conversation_from_its_first_response_to_its_deletion(tiny):
    """What is streamed, kept, fetched and gone on from is the same."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "temperature": 0, "max_output_tokens": 4}
    whole = responses.create(input="one two", **options)
    events = list(responses.create(input="one two", stream=True, **options))
    second = responses.create(input="three", previous_response_id=whole.id, **options)

    streamed = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert streamed == whole.output_text == events[-1].response.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert responses.retrieve(second.id) == second
    assert second.usage.input_tokens > whole.usage.total_tokens - 4
    assert [i.content[0].text for i in responses.input_items.list(second.id)] == ["three"]
    counted = responses.input_tokens.count(model=MODEL, input="one two")
    assert counted.input_tokens == whole.usage.input_tokens
    responses.delete(whole.id)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        responses.create(input="four", previous_response_id=second.id, **options)


def test_events_of_the_background_are_heard_again_as_they_were(tiny):
    """A worker's deltas are kept one by one, and the response as they left it."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "input": "one", "max_output_tokens": 4, "background": True}
    heard = list(responses.create(stream=True, **options))
    response_id = heard[0].response.id
    again = list(responses.retrieve(response_id, stream=True, starting_after=1))

    assert heard[0].response.status == "queued"
    assert again == heard[2:]
    assert responses.retrieve(response_id) == heard[-1].response
    assert responses.cancel(response_id) == heard[-1].response


class Flag(BaseModel):
    """Few texts are one of these, so a model of random weights says one only if it must."""

    color: Literal["red", "green"]
    is_plain: bool


def test_what_is_parsed_follows_its_schema(tiny):
    """The SDK's own schema of a class, strictly, and arguments of a call that must be made."""
    responses = tiny.sdk.responses
    options = {"model": MODEL, "input": "one two", "max_output_tokens": 150}
    tool = openai.pydantic_function_tool(Flag)["function"]
    parsed = responses.parse(text_format=Flag, **options)
    called = responses.create(
        tools=[{"type": "function", **tool}],
        tool_choice={"type": "function", "name": tool["name"]},
        **options,
    )

    assert isinstance(parsed.output_parsed, Flag)
    (call,) = called.output
    assert (call.type, call.name, call.status) == ("function_call", "Flag", "completed")
    assert Flag.model_validate_json(call.arguments)


@pytest.mark.slow
def test_the_agents_sdk_runs_an_agent(demo):
    """Streamed and not, and on from an earlier response."""
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(disabled=True)
    settings = agents.ModelSettings(temperature=0, max_tokens=200)

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="none") as client:
            model = agents.OpenAIResponsesModel(CHAT_MODEL, client)
            agent = agents.Agent(
                name="a", instructions="Be brief.", model=model, model_settings=settings
            )
            first = await agents.Runner.run(agent, QUESTION)
            second = await agents.Runner.run(
                agent, "And of Italy?", previous_response_id=first.last_response_id
            )
            streamed = agents.Runner.run_streamed(agent, QUESTION)
            kinds = {event.type async for event in streamed.stream_events()}
        assert "raw_response_event" in kinds
        return [first.final_output, second.final_output, streamed.final_output]

    first, second, streamed = asyncio.run(run())
    assert "Paris" in first
    assert "Rome" in second
    assert streamed == first


@pytest.mark.slow
def test_codex_holds_a_turn(demo, tmp_path):
    """Its long prompt, its tools and its event loop: a small model need not be clever."""
    codex = shutil.which("codex")
    if codex is None:
        pytest.skip("codex is not installed: npm install --global @openai/codex")
    (tmp_path / "config.toml").write_text(
        f'model = "{CHAT_MODEL}"\n'
        'model_provider = "local"\n'
        "[model_providers.local]\n"
        f'name = "local"\nbase_url = "{demo.url}/v1"\nwire_api = "responses"\n'
        "request_max_retries = 0\nstream_max_retries = 0\n"
    )
    ran = subprocess.run(
        [codex, "exec", "--skip-git-repo-check", "say hello"],
        cwd=tmp_path,
        env={"CODEX_HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
