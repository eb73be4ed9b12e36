"""Anthropic's Python SDK: `python use_anthropic.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import anthropic
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]

client = anthropic.Anthropic(base_url=URL, api_key="none", max_retries=0)


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def ask(
    messages: list[Any] = QUESTION, model: str = MODEL, **options: Any
) -> anthropic.types.Message:
    given = {"max_tokens": 60, "extra_body": {"temperature": 0}} | options
    return client.messages.create(model=model, messages=messages, **given)


def text(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def stream() -> list[str]:
    greedy = {"temperature": 0}
    with client.messages.stream(
        model=MODEL, messages=QUESTION, max_tokens=60, extra_body=greedy
    ) as events:
        return list(events.text_stream)


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    long = [{"role": "user", "content": "Count from 1 to 1000."}]
    with client.messages.stream(model=MODEL, messages=long, max_tokens=2000) as events:
        next(iter(events.text_stream))
    return text(ask())


def tool() -> dict[str, Any]:
    function = {"name": "save_answer", "input_schema": Answer.model_json_schema()}
    reply = ask(tools=[function], tool_choice={"type": "tool", "name": "save_answer"})
    (call,) = reply.content
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "saved"}
    ask(
        [
            *QUESTION,
            {"role": "assistant", "content": reply.content},
            {"role": "user", "content": [result]},
        ]
    )
    return {"name": call.name, "arguments": call.input}


def parsed() -> dict[str, Any]:
    reply = client.messages.parse(
        model=MODEL, messages=QUESTION, max_tokens=60, output_format=Answer
    )
    return reply.parsed_output.model_dump()


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    turns = [*QUESTION, {"role": "assistant", "content": text(ask())}]
    turns.append({"role": "user", "content": "And of Italy?"})
    turns.append({"role": "assistant", "content": text(ask(turns, OTHER, max_tokens=20))})
    turns += QUESTION
    return [turns[1]["content"], turns[3]["content"], text(ask(turns))]


def error(**options: Any) -> str:
    try:
        ask(**options)
    except anthropic.APIError as problem:
        return type(problem).__name__
    return "none"


async def asynchronous() -> str:
    async with anthropic.AsyncAnthropic(base_url=URL, api_key="none") as client:
        greedy = {"temperature": 0}
        async with client.messages.stream(
            model=MODEL, messages=QUESTION, max_tokens=60, extra_body=greedy
        ) as events:
            return "".join([text async for text in events.text_stream])


print(json.dumps({
    "chat": text(ask()),
    "stream": stream(),
    "after_cancel": cancel(),
    "tool": tool(),
    "object": parsed(),
    "swap": swap(),
    "errors": {
        "unknown_model": error(model="nobody"),
        "refused": error(extra_body={"temperature": 9}),
    },
    "async": asyncio.run(asynchronous()),
    "models": [model.id for model in client.models.list()],
    "counted": client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens,
}))  # fmt: skip
