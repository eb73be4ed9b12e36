"""Ollama's Python library: `python use_ollama.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import ollama
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, EMBEDDER = sys.argv[1:]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "num_predict": 60}

client = ollama.Client(host=URL)


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def chat(messages: list[Any] = QUESTION, model: str = MODEL, **options: Any) -> str:
    return client.chat(model, messages, options=GREEDY | options).message.content


def stream() -> list[str]:
    chunks = client.chat(MODEL, QUESTION, options=GREEDY, stream=True)
    return [chunk.message.content for chunk in chunks]


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    long = [{"role": "user", "content": "Count from 1 to 1000."}]
    chunks = client.chat(MODEL, long, options={"num_predict": 2000}, stream=True)
    next(chunks)
    chunks.close()
    return chat()


def parsed() -> dict[str, Any]:
    reply = client.chat(MODEL, QUESTION, format=Answer.model_json_schema(), options=GREEDY)
    return Answer.model_validate_json(reply.message.content).model_dump()


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    turns = [*QUESTION, {"role": "assistant", "content": chat()}]
    turns.append({"role": "user", "content": "And of Italy?"})
    turns.append({"role": "assistant", "content": chat(turns, OTHER, num_predict=20)})
    return [turns[1]["content"], turns[3]["content"], chat([*turns, *QUESTION])]


def error(model: str = MODEL, **options: Any) -> str:
    try:
        chat(model=model, **options)
    except ollama.ResponseError as problem:
        return f"{type(problem).__name__} {problem.status_code}"
    return "none"


async def asynchronous() -> str:
    chunks = await ollama.AsyncClient(host=URL).chat(MODEL, QUESTION, options=GREEDY, stream=True)
    return "".join([chunk.message.content async for chunk in chunks])


print(json.dumps({
    "chat": chat(),
    "stream": stream(),
    "after_cancel": cancel(),
    "object": parsed(),
    "swap": swap(),
    "errors": {"unknown_model": error("nobody"), "refused": error(temperature=9)},
    "embeddings": client.embed(EMBEDDER, ["what is a?", "b c d"]).embeddings,
    "async": asyncio.run(asynchronous()),
    "models": [model.model for model in client.list().models],
    "generated": client.generate(MODEL, QUESTION[0]["content"], options=GREEDY).response,
}))  # fmt: skip
