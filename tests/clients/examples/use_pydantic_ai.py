"""pydantic-ai, over chats and over Responses: `python use_pydantic_ai.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic_ai import Agent, ModelHTTPError, NativeOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = "What is the capital of France?"
GREEDY = {"temperature": 0, "max_tokens": 60}

provider = OpenAIProvider(base_url=f"{URL}/v1", api_key="none")


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def ask(model: Model, question: str = QUESTION, history: Any = None, **options: Any) -> Any:
    return Agent(model, model_settings=GREEDY, **options).run_sync(
        question, message_history=history
    )


async def stream(model: Model) -> list[str]:
    async with Agent(model, model_settings=GREEDY).run_stream(QUESTION) as reply:
        return [piece async for piece in reply.stream_text(delta=True, debounce_by=None)]


async def cancel(model: Model) -> str:
    """Leaves a long answer after its first words, then asks something else."""
    agent = Agent(model, model_settings=GREEDY | {"max_tokens": 2000})
    async with agent.run_stream("Count from 1 to 1000.") as reply:
        async for _ in reply.stream_text(delta=True, debounce_by=None):
            break
    return (await Agent(model, model_settings=GREEDY).run(QUESTION)).output


def tool(model: Model) -> dict[str, Any]:
    """An output that is a tool's arguments, and so a tool that must be called."""
    result = ask(model, output_type=ToolOutput(Answer, name="save_answer"))
    (call,) = result.all_messages()[1].parts
    return {"name": call.tool_name, "arguments": result.output.model_dump()}


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    first = ask(OpenAIChatModel(MODEL, provider=provider))
    other = OpenAIChatModel(OTHER, provider=provider, settings={"max_tokens": 20})
    second = ask(other, "And of Italy?", first.all_messages())
    third = ask(OpenAIChatModel(MODEL, provider=provider), QUESTION, second.all_messages())
    return [first.output, second.output, third.output]


def error() -> str:
    try:
        ask(OpenAIChatModel("nobody", provider=provider))
    except ModelHTTPError as problem:
        return f"{type(problem).__name__} {problem.status_code}"
    return "none"


def use(model: Model) -> dict[str, Any]:
    return {
        "chat": ask(model).output,
        "stream": asyncio.run(stream(model)),
        "after_cancel": asyncio.run(cancel(model)),
        "tool": tool(model),
        "object": ask(model, output_type=NativeOutput(Answer)).output.model_dump(),
    }


print(json.dumps({
    "over_chats": use(OpenAIChatModel(MODEL, provider=provider)),
    "over_responses": use(OpenAIResponsesModel(MODEL, provider=provider)),
    "swap": swap(),
    "errors": {"unknown_model": error()},
}))  # fmt: skip
