"""OpenAI's Agents SDK, over Responses and over chats: `python use_agents.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import agents
import openai
from pydantic import BaseModel

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = "What is the capital of France?"
GREEDY = agents.ModelSettings(temperature=0, max_tokens=60)

agents.set_tracing_disabled(disabled=True)
client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none", max_retries=0)
responses = agents.OpenAIResponsesModel(MODEL, client)
chats = agents.OpenAIChatCompletionsModel(MODEL, client)


class Answer(BaseModel):
    city: Literal["Paris", "Rome"]
    is_large: bool


@agents.function_tool
def save_answer(city: Literal["Paris", "Rome"], is_large: bool) -> str:
    """Saves an answer."""
    return json.dumps({"city": city, "is_large": is_large})


def agent(model: agents.Model, **options: Any) -> agents.Agent:
    return agents.Agent(
        **{"name": "a", "instructions": "Be brief.", "model": model, "model_settings": GREEDY}
        | options
    )


async def run(model: agents.Model, **options: Any) -> Any:
    return (await agents.Runner.run(agent(model, **options), QUESTION)).final_output


async def stream(model: agents.Model) -> list[str]:
    streamed = agents.Runner.run_streamed(agent(model), QUESTION)
    events = [
        event.data async for event in streamed.stream_events() if event.type == "raw_response_event"
    ]
    return [event.delta for event in events if event.type == "response.output_text.delta"]


async def tool(model: agents.Model) -> dict[str, Any]:
    """The tool that it must call runs here, and what it gives is the agent's answer."""
    result = await run(
        model,
        tools=[save_answer],
        model_settings=agents.ModelSettings(tool_choice="save_answer", max_tokens=60),
        tool_use_behavior="stop_on_first_tool",
    )
    return {"name": "save_answer", "arguments": json.loads(result)}


async def go_on() -> str:
    """From a response that the server keeps."""
    first = await agents.Runner.run(agent(responses), QUESTION)
    second = await agents.Runner.run(
        agent(responses), "And of Italy?", previous_response_id=first.last_response_id
    )
    return second.final_output


async def error(model: str) -> str:
    try:
        await run(agents.OpenAIResponsesModel(model, client))
    except openai.APIError as problem:
        return type(problem).__name__
    return "none"


async def use(model: agents.Model) -> dict[str, Any]:
    return {
        "chat": await run(model),
        "stream": await stream(model),
        "tool": await tool(model),
        "object": (await run(model, output_type=Answer)).model_dump(),
    }


async def main() -> None:
    print(json.dumps({
        "over_responses": await use(responses),
        "over_chats": await use(chats),
        "second_turn": await go_on(),
        "errors": {"unknown_model": await error("nobody")},
    }))  # fmt: skip


asyncio.run(main())
