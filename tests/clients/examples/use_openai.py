"""OpenAI's Python SDK: `python use_openai.py URL MODEL OTHER EMBEDDER`, which are ids of `GET /v1/models`."""

import asyncio
import json
import sys
from typing import Any, Literal

import openai
from pydantic import BaseModel

URL, MODEL, OTHER, EMBEDDER = sys.argv[1:]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="none")
chats = client.chat.completions


class Answer(BaseModel):
    city: Literal["Paris", "Rome"]
    is_large: bool


def chat(messages: list[Any] = QUESTION, model: str = MODEL) -> str:
    reply = chats.create(model=model, messages=messages, temperature=0, max_tokens=20)
    return reply.choices[0].message.content


def stream() -> list[str]:
    chunks = chats.create(model=MODEL, messages=QUESTION, temperature=0, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def stream_helper() -> str:
    with chats.stream(model=MODEL, messages=QUESTION, temperature=0) as events:
        return "".join(event.delta for event in events if event.type == "content.delta")


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    with chats.create(
        model=MODEL, messages=QUESTION, stream=True, extra_body={"ignore_eos": True}
    ) as chunks:
        next(chunks)
    return chat()


def tool() -> dict[str, Any]:
    function = openai.pydantic_function_tool(Answer, name="save_answer")
    must = {"type": "function", "function": {"name": "save_answer"}}
    reply = chats.create(model=MODEL, messages=QUESTION, tools=[function], tool_choice=must)
    (call,) = reply.choices[0].message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "saved"}
    chat([*QUESTION, reply.choices[0].message, result])
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def parsed() -> dict[str, Any]:
    reply = chats.parse(model=MODEL, messages=QUESTION, response_format=Answer)
    return reply.choices[0].message.parsed.model_dump()


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    first = {"role": "assistant", "content": chat()}
    turns = [*QUESTION, first, {"role": "user", "content": "And of Italy?"}]
    second = {"role": "assistant", "content": chat(turns, OTHER)}
    return [first["content"], second["content"], chat([*turns, second, *QUESTION])]


def error(**options: Any) -> str:
    try:
        chats.create(**{"model": MODEL, "messages": QUESTION} | options)
    except openai.APIError as problem:
        return type(problem).__name__
    return "none"


def embed() -> list[list[float]]:
    reply = client.embeddings.create(model=EMBEDDER, input=["what is a?", "b c d"])
    return [item.embedding for item in reply.data]


async def asynchronous() -> str:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="none") as client:
        chunks = await client.chat.completions.create(
            model=MODEL, messages=QUESTION, temperature=0, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


print(json.dumps({
    "chat": chat(),
    "stream": stream(),
    "stream_helper": stream_helper(),
    "after_cancel": cancel(),
    "tool": tool(),
    "object": parsed(),
    "swap": swap(),
    "errors": {"unknown_model": error(model="nobody"), "refused": error(temperature=9)},
    "embeddings": embed(),
    "async": asyncio.run(asynchronous()),
    "models": [model.id for model in client.models.list()],
}))  # fmt: skip
