"""LiteLLM's SDK, over OpenAI's API: `python use_litellm.py URL MODEL OTHER EMBEDDER`."""

import asyncio
import json
import sys
from typing import Any, Literal

import litellm
from pydantic import BaseModel, ConfigDict

URL, MODEL, OTHER, EMBEDDER = sys.argv[1:]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SERVER = {"api_base": f"{URL}/v1", "api_key": "none", "num_retries": 0}

litellm.suppress_debug_info = True


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    city: Literal["Paris", "Rome"]
    is_large: bool


def ask(messages: list[Any] = QUESTION, model: str = MODEL, **options: Any) -> Any:
    given = SERVER | {"temperature": 0, "max_tokens": 60} | options
    return litellm.completion(model=f"openai/{model}", messages=messages, **given)


def chat(messages: list[Any] = QUESTION, model: str = MODEL, **options: Any) -> str:
    return ask(messages, model, **options).choices[0].message.content


def stream() -> list[str]:
    return [chunk.choices[0].delta.content or "" for chunk in ask(stream=True)]


def cancel() -> str:
    """Leaves a long answer after its first words, then asks something else."""
    chunks = ask(stream=True, max_tokens=2000, extra_body={"ignore_eos": True})
    next(chunks)
    chunks.completion_stream.close()  # LiteLLM's own wrapper has no way to
    return chat()


def tool() -> dict[str, Any]:
    function = {"name": "save_answer", "parameters": Answer.model_json_schema()}
    reply = ask(tools=[{"type": "function", "function": function}], tool_choice="required")
    (call,) = reply.choices[0].message.tool_calls
    chat(
        [
            *QUESTION,
            reply.choices[0].message,
            {"role": "tool", "tool_call_id": call.id, "content": "saved"},
        ]
    )
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def swap() -> list[str]:
    """One conversation, in which another model says something."""
    first = {"role": "assistant", "content": chat()}
    turns = [*QUESTION, first, {"role": "user", "content": "And of Italy?"}]
    second = {"role": "assistant", "content": chat(turns, OTHER, max_tokens=20)}
    return [first["content"], second["content"], chat([*turns, second, *QUESTION])]


def error(**options: Any) -> str:
    try:
        ask(**options)
    except litellm.exceptions.APIError as problem:
        return type(problem).__name__
    except (litellm.NotFoundError, litellm.BadRequestError) as problem:
        return type(problem).__name__
    return "none"


def embed() -> list[list[float]]:
    reply = litellm.embedding(
        model=f"openai/{EMBEDDER}", input=["what is a?", "b c d"], encoding_format="float", **SERVER
    )
    return [item["embedding"] for item in reply.data]


async def asynchronous() -> str:
    chunks = await litellm.acompletion(
        model=f"openai/{MODEL}", messages=QUESTION, temperature=0, stream=True, **SERVER
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


print(json.dumps({
    "chat": chat(),
    "stream": stream(),
    "after_cancel": cancel(),
    "tool": tool(),
    "object": json.loads(chat(response_format=Answer)),
    "swap": swap(),
    "errors": {"unknown_model": error(model="nobody"), "refused": error(top_p=9)},
    "embeddings": embed(),
    "async": asyncio.run(asynchronous()),
}))  # fmt: skip
